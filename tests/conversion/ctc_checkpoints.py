"""CTC checkpoints for tests: bare ones made of bytes, tiny real ones, and what is heard by them.

What the converter makes is kept under the hash of all that decides it, beside pytest's own
folders, so that rooms, workers and runs share it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np

from infra.environments.locks import CONVERTER, SERVING

from ..warm_python import run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

CHECKOUT = Path(__file__).resolve().parents[2]
ASK = Path(__file__).with_name("ask_program.py")
GRID = CHECKOUT / "examples" / "grid"
MODEL = GRID / "models" / "ctc-grid"

CHARACTERS = {token: number for number, token in enumerate(["<pad>", "<s>", "</s>", "|", "a"])}
WHISPER: dict[str, Any] = {
    "architectures": ["WhisperForCTC"],
    "model_type": "whisper",
    "d_model": 4,
    "num_mel_bins": 8,
    "encoder_layers": 1,
    "max_source_positions": 10,
    "vocab_size": 5,
    "pad_token_id": 0,
}
WHISPER_TENSORS = {
    "encoder.conv1.weight": [4, 8, 3],
    "encoder.layers.0.fc1.weight": [8, 4],
    "lm_head.weight": [5, 4],
    "lm_head.bias": [5],
}
WAV2VEC2: dict[str, Any] = {
    "architectures": ["Wav2Vec2ForCTC"],
    "model_type": "wav2vec2",
    "hidden_size": 4,
    "num_hidden_layers": 1,
    "vocab_size": 5,
    "pad_token_id": 0,
}
WAV2VEC2_TENSORS = {
    "wav2vec2.feature_extractor.conv_layers.0.conv.weight": [4, 1, 10],
    "wav2vec2.encoder.layers.0.feed_forward.output_dense.weight": [4, 8],
    "lm_head.weight": [5, 4],
    "lm_head.bias": [5],
}
PREPROCESSORS = {
    "whisper": {"feature_size": 8, "sampling_rate": 16000, "hop_length": 160, "n_samples": 3200},
    "wav2vec2": {"feature_size": 1, "sampling_rate": 16000, "do_normalize": True},
}

_TINY = """
import json, sys
from pathlib import Path
import torch
from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor
from transformers import Wav2Vec2ForCTC
folder, norm = Path(sys.argv[1]), sys.argv[2]
torch.manual_seed(3)
config = Wav2Vec2Config(
    vocab_size=31, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
    intermediate_size=64, conv_dim=(16,) * 3, conv_kernel=(10, 8, 4), conv_stride=(8, 8, 5),
    num_feat_extract_layers=3, feat_extract_norm=norm, do_stable_layer_norm=norm == "layer",
    num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, pad_token_id=0,
    initializer_range=0.3,
)
Wav2Vec2ForCTC(config).save_pretrained(folder)
letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz"]
(folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(letters)}))
Wav2Vec2CTCTokenizer(folder / "vocab.json").save_pretrained(folder)
Wav2Vec2FeatureExtractor(
    return_attention_mask=norm == "layer", do_normalize=True
).save_pretrained(folder)
for path in folder.iterdir():
    path.chmod(0o644)
"""


def safetensors(tensors: Mapping[str, list[int]]) -> bytes:
    """The bytes of a safetensors file of float16 zeros."""
    header, end = {}, 0
    for name, shape in tensors.items():
        begin, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(end)


def write_bare(folder: Path, architecture: str = "whisper") -> Path:
    """A folder that the inspector accepts; no framework could run it."""
    folder.mkdir(parents=True)
    config, tensors = {
        "whisper": (WHISPER, WHISPER_TENSORS),
        "wav2vec2": (WAV2VEC2, WAV2VEC2_TENSORS),
    }[architecture]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSORS[architecture]))
    (folder / "vocab.json").write_text(json.dumps(CHARACTERS))
    (folder / "model.safetensors").write_bytes(safetensors(tensors))
    return folder


def tiny_wav2vec2(shared: Path, norm: str) -> Path:
    """A real Wav2Vec2ForCTC of random weights; with norm "layer" it was trained with masks."""
    key = hashlib.sha256(f"{_TINY}{norm}{CONVERTER.lock_hash}".encode()).hexdigest()[:16]
    target = shared / f"sluice-wav2vec2-{key}"
    with filelock.FileLock(f"{target}.lock", timeout=240):
        if not target.exists():
            staged = target.with_suffix(".staged")
            staged.mkdir(exist_ok=True)
            run(CONVERTER, "-c", _TINY, str(staged), norm)
            staged.rename(target)
    return target


def save_sounds(path: Path, sounds: Mapping[str, NDArray[np.float32]]) -> None:
    """Write sounds by id to an .npz."""
    np.savez(path, **dict(sounds))  # type: ignore[arg-type]  # its stub knows one keyword only


EXTRACTED = """
import sys
import numpy as np
from transformers import Wav2Vec2FeatureExtractor
extractor = Wav2Vec2FeatureExtractor.from_pretrained(sys.argv[1])
rows = {"input_values": [], "attention_mask": []}
with np.load(sys.argv[2]) as stored:
    for name in stored.files:
        found = extractor(stored[name], sampling_rate=16000, return_attention_mask=True)
        room = 48000 - stored[name].size
        rows["input_values"].append(np.pad(found.input_values[0], (0, room)))
        rows["attention_mask"].append(np.pad(found.attention_mask[0], (0, room)).astype(np.int32))
if not extractor.return_attention_mask:
    del rows["attention_mask"]
np.savez(sys.argv[3], **{name: np.stack(values) for name, values in rows.items()})
"""
"""Writes what Transformers' wav2vec2 extractor makes of single sounds, zeros behind them."""

_FROM_THE_SOURCE = """
import json, sys
from pathlib import Path
import numpy as np
import torch
from transformers import Wav2Vec2CTCTokenizer
from pipelines.conversion.ctc_speech.inputs import extractor_of
from pipelines.conversion.ctc_speech.network import load
from pipelines.conversion.ctc_speech.source import inspect
source = Path(sys.argv[1])
facts = inspect(source)
network, extractor = load(source, facts), extractor_of(source, facts)
tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(source)
texts = {}
with np.load(sys.argv[2]) as stored, torch.inference_mode():
    for name in stored.files:
        feed = extractor([stored[name]])
        logits = network(*(torch.from_numpy(array) for array in feed.values()))
        texts[name] = tokenizer.decode(logits.argmax(-1)[0])
print(json.dumps(texts))
"""


def source_transcripts(source: Path, sounds: Path) -> dict[str, str]:
    """What PyTorch and Transformers' own tokenizer make of the sounds of an .npz, one by one."""
    return dict(json.loads(run(CONVERTER, "-c", _FROM_THE_SOURCE, str(source), str(sounds))))


def program_answers(variant: Path, sounds: Path) -> dict[str, dict[str, Any]]:
    """What the serving program answers, in the serving environment, in batches."""
    program = ("ctc_speech.recogniser", "Recogniser", "logits")
    return dict(json.loads(run(SERVING, str(ASK), *program, str(variant), str(sounds))))
