"""A release that Triton's vLLM backend serves: how it is laid out, and that it answers.

The server is real; the backend is a stand-in, because vLLM wants a GPU.
"""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException

from infra.local import triton
from infra.local.private_revision import PrivateRevision
from infra.local.triton_backends import STAND_INS, backend_folder, require_backends
from model_repository.building import describe_release, program_digest
from model_repository.config import Batching
from model_repository.golden import GoldenSet
from model_repository.publishing import build_private, publish, verify_release
from registry.errors import UserError
from registry.files import canonical_json
from registry.signature import SigningKey, VerifyingKey
from registry.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
MODEL = "chat"
LIVE = 3
OPTIONS = {"max_live": str(LIVE), "gpus": "2", "gpu_memory_share": "0.8"}
DOCUMENTED = {
    "model": f"{MODEL}.network/1/variant",
    "tokenizer": f"{MODEL}.network/1/variant",
    "dtype": "float16",
    "max_model_len": 12,
    "max_num_seqs": LIVE,
    "tensor_parallel_size": 2,
    "gpu_memory_utilization": 0.8,
    "trust_remote_code": False,
}
"""Names are those of AsyncEngineArgs: https://docs.vllm.ai/en/v0.8.5/serving/engine_args.html."""
TOKENIZER: dict[str, Any] = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {"type": "WhitespaceSplit"},
    "post_processor": None,
    "decoder": None,
    "model": {"type": "WordLevel", "vocab": {"<unk>": 0, "one": 1}, "unk_token": "<unk>"},
}
RULES = {
    "precision": "int4",
    "method": "awq",
    "group_size": 128,
    "dtype": "float16",
    "prompt_template": "say {text} now",
    "end": [0],
    "stop": ["STOP"],
    "special_words": ["<|end|>"],
    "max_positions": 12,
    "max_new_tokens": 6,
}


@pytest.fixture(scope="module")
def variant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A variant as the conversion of an AWQ checkpoint leaves it; its weights are no weights."""
    folder = tmp_path_factory.mktemp("vllm") / "variant"
    folder.mkdir()
    recipe = {"variant": "vllm", "format": "vllm", "precision": "as-is", "parameters": {}}
    described = {"recipe": recipe, "longest_question": []}
    (folder / "variant.json").write_bytes(canonical_json(described))
    (folder / "vllm.json").write_bytes(canonical_json(RULES))
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"packed")
    return folder


def build(folder: Path, variant: Path, **options: str) -> Path:
    batching = Batching(max_batch_size=4, options=OPTIONS | options)
    return build_private(folder, variant, MODEL, kind="llm", batching=batching)


def files(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def config_of(repository: Path, name: str) -> Any:
    text = (repository / name / "configs" / "r1.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_the_checkpoint_is_beside_what_the_backend_reads(variant: Path, tmp_path: Path) -> None:
    repository = build(tmp_path / "repository", variant)
    engine = files(repository / f"{MODEL}.network" / "1")
    assert json.loads(engine.pop("model.json")) == DOCUMENTED
    assert engine == {f"variant/{name}": content for name, content in files(variant).items()}
    kept = files(repository / MODEL / "1" / "variant")
    assert kept.keys() == {"variant.json", "vllm.json", "tokenizer.json"}
    assert files(build(tmp_path / "again", variant)) == files(repository)
    description = describe_release(repository / MODEL / "1")
    assert description["program"] == program_digest("llm", "vllm") != program_digest("llm")


def test_the_backend_is_configured_as_it_documents(variant: Path, tmp_path: Path) -> None:
    repository = build(tmp_path / "repository", variant)
    config = config_of(repository, f"{MODEL}.network")
    assert (config.backend, config.max_batch_size) == ("vllm", 0)
    assert config.model_transaction_policy.decoupled
    (group,) = config.instance_group
    assert group.kind == group.KIND_MODEL
    asked = {tensor.name: (tensor.data_type, tensor.optional) for tensor in config.input}
    text, flag = model_config_pb2.TYPE_STRING, model_config_pb2.TYPE_BOOL
    assert asked.pop("text_input") == (text, False)
    assert asked["sampling_parameters"] == (text, True)
    assert asked["stream"] == asked["exclude_input_in_output"] == (flag, True)
    assert {"text_output", "cumulative_logprob", "num_output_tokens"} <= {
        tensor.name for tensor in config.output
    }
    program = config_of(repository, MODEL)
    assert (program.backend, program.instance_group[0].count) == ("python", LIVE)
    assert [tensor.name for tensor in program.input] == ["text"]
    assert not program.HasField("dynamic_batching")


@pytest.mark.parametrize("options", [{"gpus": "0"}, {"gpu_memory_share": "1.5"}, {"max_live": "0"}])
def test_an_engine_that_cannot_be_is_refused(
    variant: Path, tmp_path: Path, options: dict[str, str]
) -> None:
    with pytest.raises(UserError, match=r"\[serve.options\]"):
        build(tmp_path / "repository", variant, **options)


def test_what_is_published_is_whole_and_signed(variant: Path, tmp_path: Path) -> None:
    (tmp_path / "sluice.toml").touch()
    places = Workspace(tmp_path)
    key = SigningKey.load_or_create(places.keys)
    publish(
        places,
        MODEL,
        1,
        kind="llm",
        variant_folder=variant,
        golden=GoldenSet(()),
        batching=Batching(options=OPTIONS),
        provenance={},
        signing_key=key,
    )
    public = VerifyingKey.load(places.keys)
    manifest = verify_release(places.repository, places.releases, MODEL, 1, public)
    signed = {file.path for file in manifest.files}
    assert f"{MODEL}.network/1/variant/model.safetensors" in signed
    assert f"{MODEL}.network/1/model.json" in signed


def test_a_triton_without_the_backend_is_said_in_one_line(variant: Path, tmp_path: Path) -> None:
    repository = build(tmp_path / "repository", variant)
    backends = tmp_path / "backends"
    (backends / "python").mkdir(parents=True)
    with pytest.raises(UserError) as caught:
        require_backends(backends, repository, MODEL, 1)
    message = str(caught.value)
    assert message.startswith(f"{MODEL} release 1: needs a Triton with the vllm backend")
    assert "\n" not in message
    assert "container" in caught.value.remedy
    (backends / "vllm").mkdir()
    require_backends(backends, repository, MODEL, 1)


@pytest.mark.engine
def test_no_server_is_started_without_the_backend(variant: Path, tmp_path: Path) -> None:
    repository = build(tmp_path / "repository", variant)
    before = files(tmp_path)
    with (
        pytest.raises(UserError, match="needs a Triton with the vllm backend"),
        PrivateRevision(repository, MODEL, log=tmp_path / "log"),
    ):
        pytest.fail("it loaded")
    assert files(tmp_path) == before


@pytest.fixture(scope="module")
def with_stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The machine's backends, and one that speaks as vLLM's does."""
    folder = tmp_path_factory.mktemp("backends") / "all"
    shutil.copytree(backend_folder(), folder)
    (folder / "vllm").mkdir()
    shutil.copyfile(HERE / "vllm_stand_in.py", folder / "vllm" / "model.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(triton, "backend_folder", lambda: folder)
        patch.setattr(triton, "STAND_INS", (*STAND_INS, "vllm"))
        yield


@pytest.fixture(scope="module")
def served(
    with_stand_in: None, variant: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrivateRevision]:
    del with_stand_in
    root = tmp_path_factory.mktemp("served")
    repository = build(root / "repository", variant)
    with PrivateRevision(repository, MODEL, log=root / "log") as revision:
        yield revision


def ask(revision: PrivateRevision, *texts: str | bytes, **parameters: Any) -> list[dict[str, Any]]:
    """The outputs of each row of one request."""
    tensor = grpcclient.InferInput("text", [len(texts), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[text] for text in texts], dtype=object))
    names = ("completion", "average_log_probability", "token_count", "compression_ratio")
    with grpcclient.InferenceServerClient(revision.grpc_address) as client:
        result = client.infer(MODEL, [tensor], parameters=parameters, client_timeout=30)
    columns = {name: result.as_numpy(name)[:, 0] for name in names}
    return [{name: column[row] for name, column in columns.items()} for row in range(len(texts))]


def refusal(revision: PrivateRevision, text: str | bytes, **parameters: Any) -> str:
    with pytest.raises(InferenceServerException) as caught:
        ask(revision, text, **parameters)
    return str(caught.value.message())


@pytest.mark.engine
def test_it_answers_as_the_kind_does(served: PrivateRevision) -> None:
    first, second = ask(served, "one two", "STOP three")
    # The stand-in writes its prompt backwards, so the template and the whole text reached it.
    assert first["completion"].decode().split()[:4] == ["now", "two", "one", "say"]
    assert first["token_count"] == 5
    assert first["average_log_probability"] == pytest.approx(-0.5)
    assert 0 < first["compression_ratio"] < 2
    assert (second["completion"], second["token_count"]) == (b"now three", 2)
    (short,) = ask(served, "one two", max_tokens=2)
    assert short["completion"] == b"now two"


@pytest.mark.engine
@pytest.mark.parametrize(
    ("text", "parameters", "reason"),
    [
        (" ", {}, "text is empty"),
        (b"\xff", {}, "not UTF-8 at byte 0"),
        ("a<|end|>", {}, "a control word"),
        ("w " * 10, {}, "text is 12 tokens, this model takes at most 11"),
        ("w " * 2000, {}, "far more than the 12 tokens"),
        ("one", {"max_tokens": 7}, "give an integer from 1 to 6"),
        ("one", {"max_tokens": 0}, "give an integer from 1 to 6"),
        ("failing", {}, "the engine failed: RuntimeError"),
    ],
)
def test_what_cannot_be_answered_is_refused_alone(
    served: PrivateRevision, text: str | bytes, parameters: dict[str, int], reason: str
) -> None:
    assert reason in refusal(served, text, **parameters)
    assert ask(served, "one")[0]["token_count"] == 4


@pytest.mark.engine
def test_instances_ask_together_what_the_engine_joins(served: PrivateRevision) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: ask(served, f"n{number}"), range(24)))
    for number, (answer,) in enumerate(answers):
        assert answer["completion"].decode().split()[1] == f"n{number}"
    most = max(int(answer["completion"].decode().rpartition("=")[2]) for (answer,) in answers)
    assert most == LIVE


@pytest.mark.engine
def test_the_engine_is_not_for_clients(served: PrivateRevision) -> None:
    """It answers streams only, and the front door has no way to a part of this name."""
    tensor = grpcclient.InferInput("text_input", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([b"one"], dtype=object))
    with (
        grpcclient.InferenceServerClient(served.grpc_address) as client,
        pytest.raises(InferenceServerException, match="decoupled"),
    ):
        client.infer(f"{MODEL}.network", [tensor], client_timeout=30)
