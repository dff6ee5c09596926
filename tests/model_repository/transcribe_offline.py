"""Run in the serving environment: what a variant answers, without a server.

`python transcribe_offline.py CHECKOUT CALLS.json CLIPS.npz ANSWERS.json`. Each call names a
`variant` folder, `options`, `device`, the `clips` of one batch and their `parameters`; its answer
holds `refusals`, `devices`, and the `outputs` and `records` of the clips that were not refused,
or an `error` where the variant could not be loaded.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(checkout: str, calls: Path, clips: Path, answers: Path) -> None:
    sys.path.insert(0, checkout)
    with np.load(clips) as stored:
        sounds = {name: stored[name] for name in stored.files}
    found = [answered(call, sounds) for call in json.loads(calls.read_text())]
    answers.write_text(json.dumps(found))


def answered(call: dict[str, Any], sounds: dict[str, Any]) -> dict[str, Any]:
    from model_repository.programs.common.answers import Settings
    from model_repository.programs.whisper.transcriber import Transcriber

    settings = Settings(device=call.get("device", "CPU"), options=call.get("options", {}))
    try:
        transcriber = Transcriber(Path(call["variant"]), settings)
    except ValueError as error:
        return {"error": str(error)}
    batch = [sounds[name] for name in call["clips"]]
    parameters = call.get("parameters", [{}] * len(batch))
    refusals = list(map(transcriber.refusal, batch, parameters))
    pairs = [
        pair
        for pair, why in zip(zip(batch, parameters, strict=True), refusals, strict=True)
        if not why
    ]
    outcomes = transcriber.answer(*zip(*pairs, strict=True)) if pairs else []
    return {
        "refusals": refusals,
        "devices": list(transcriber.execution_devices),
        "described": [sorted(transcriber.describe(one)) for one in batch],
        "outputs": [outcome.outputs for outcome in outcomes],
        "records": [outcome.record for outcome in outcomes],
    }


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
