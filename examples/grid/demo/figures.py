"""From the record of the traffic and the journal to the figures of the summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from acts import Story

Record = dict[str, Any]


def summarise(story: Story, records: list[Record], *, seconds: float) -> dict[str, Any]:
    """Everything that `summary.json` holds."""
    faulty = faulty_release(story)
    own = [record for record in records if is_faulty_answer(story, record, faulty)]
    seen = [record for record in own if record["answered"] <= rollout_times(story, faulty)[1] + 1.0]
    failed = [record for record in records if record["error"] and record not in own]
    return {
        "seconds": round(seconds, 1),
        "requests": {
            "sent": len(records),
            "failed": len(failed),
            "wrong": sum(is_wrong(story, record) for record in records),
            "faulty_release_errors": len(own),
            "by_protocol": {
                name: sum(record["protocol"] == name for record in records)
                for name in ("http", "grpc")
            },
            "failures": [record["error"] for record in failed[:10]],
        },
        "rollback": rollback_figures(story, records, seen, faulty),
        "drift": [drift_figures(story, found) for found in story.findings],
        "releases": [*release_rows(story, records), *refused_rows(story)],
        "promotion_overhead_s": promotion_overhead(story, 2)["overhead_s"],
        "promotion_breakdown": promotion_overhead(story, 2),
    }


def faulty_release(story: Story) -> int:
    """The release that its rollout rolled back."""
    return next(
        number
        for number, result in story.promotions.items()
        if result["rollout"]["outcome"] == "rolled-back"
    )


def is_faulty_answer(story: Story, record: Record, faulty: int) -> bool:
    """Whether an error is the faulty release's own: an utterance that it cannot answer, in time."""
    if not record["error"] or record["utterance"] in story.expected[faulty]:
        return False
    times = [rollout_times(story, faulty), *story.unanswerable]
    return any(began <= record["answered"] <= ended + 1.0 for began, ended in times)


def is_wrong(story: Story, record: Record) -> bool:
    """Whether an answer differs from what the release gave when it was scored offline.

    Nobody scored the utterances with the noise of act 5.
    """
    if record["error"] or record["noisy"]:
        return False
    return record["text"] != story.expected.get(record["release"], {}).get(record["utterance"])


def rollout_times(story: Story, release: int) -> tuple[float, float]:
    """When the rollout of `release` began and ended, epoch seconds."""
    entries = rollout_entries(story, release)
    return entries[0]["at"], entries[-1]["at"]


def rollout_entries(story: Story, release: int) -> list[Record]:
    """The journal from `rollout-started` of `release` to its `rollout-ended`."""
    found: list[Record] = []
    for entry in story.history:
        if entry["kind"] == "rollout-started":
            if found:
                break
            if entry["body"]["candidate"] != release:
                continue
        if found or entry["kind"] == "rollout-started":
            found.append(entry)
            if entry["kind"] == "rollout-ended":
                break
    return found


def decision_time(story: Story, release: int) -> float:
    """When the controller decided to roll `release` back."""
    return next(
        entry["at"]
        for entry in rollout_entries(story, release)
        if entry["kind"] == "decided" and entry["body"]["decision"] == "roll-back"
    )


def rollout_answers(story: Story, records: list[Record], release: int) -> list[Record]:
    """What `release` answered well before its first rollout was over."""
    over = rollout_times(story, release)[1] + 1.0
    return [one for one in records if one["release"] == release and one["answered"] <= over]


def rollback_figures(
    story: Story, records: list[Record], own: list[Record], faulty: int
) -> dict[str, Any]:
    """How fast the fault was seen, and how fast it was gone."""
    decided = decision_time(story, faulty)
    answered = [*rollout_answers(story, records, faulty), *own]
    first_bad = min(record["answered"] for record in own)
    late = [record for record in answered if record["answered"] > decided]
    last = max((record["answered"] for record in late), default=decided)
    last_sent = max((record["sent"] for record in late), default=decided)
    return {
        "first_bad_to_decision_s": round(decided - first_bad, 3),
        "first_bad_to_decision_requests": sum(
            first_bad <= record["answered"] <= decided for record in answered
        ),
        "decision_to_last_bad_ms": round((last - decided) * 1000, 1),
        "decision_to_last_bad_sent_ms": round(max(last_sent - decided, 0.0) * 1000, 1),
        "in_flight_at_decision": sum(record["sent"] <= decided for record in late),
    }


def drift_figures(story: Story, found: Record) -> dict[str, Any]:
    """What one watch found, and how long going back took once the evidence was there."""
    entries = [e for e in story.history if found["began"] <= e["at"] <= found["ended"]]
    evidence = next((e["at"] for e in entries if e["kind"] == "skip-requested"), None)
    asked = [e["at"] for e in entries if e["kind"] == "drift-rollback-requested"]
    back = [
        e["at"]
        for e in entries
        if asked and e["at"] >= asked[0] and e["kind"] == "effect-confirmed"
    ]
    attribution = found["attribution"]
    return {
        "verdict": found["verdict"],
        "alarm": found["reason"],
        "finding": found["finding"],
        "reason": attribution["reason"],
        "pairs": attribution["pairs"],
        "e_value": attribution["e_value"],
        "rolled_back_to": attribution["rolled_back_to"],
        "evidence_to_route_s": round(back[0] - evidence, 3) if back and evidence else None,
        "seconds": round(found["ended"] - found["began"], 1),
    }


def release_rows(story: Story, records: list[Record]) -> list[dict[str, Any]]:
    """One row for each published release."""
    rows = []
    for entry in story.history:
        if entry["kind"] != "release-published":
            continue
        body = entry["body"]
        number = body["release"]
        taken = [
            (record["answered"] - record["sent"]) * 1000
            for record in records
            if record["release"] == number
        ]
        p50, p95 = np.percentile(taken, [50, 95]).round(1).tolist() if taken else (None, None)
        report = next(
            gate for gate in story.gates if gate["report_digest"] == body["report_digest"]
        )
        rows.append(
            {
                "number": number,
                "format": body["format"],
                "precision": body["precision"],
                "wer": report["report"]["metrics"]["wer"],
                "bytes": body["bytes"],
                "answered": len(taken),
                "p50_ms": p50,
                "p95_ms": p95,
                "outcome": outcome(story, number),
            }
        )
    return rows


def outcome(story: Story, number: int) -> str:
    """How the release ended: what it serves now, or why it does not."""
    ended = story.promotions[number]["rollout"]["outcome"]
    if ended != "settled":
        return str(ended)
    last = [e for e in story.history if e["kind"] == "rollback-requested"]
    if last and last[-1]["body"]["to"] == number:
        return "live again after a rollback by hand"
    return "replaced by hand" if last and number == max(_settled(story)) else "settled"


def _settled(story: Story) -> list[int]:
    return [
        number
        for number, result in story.promotions.items()
        if result["rollout"]["outcome"] == "settled"
    ]


def refused_rows(story: Story) -> list[dict[str, Any]]:
    """One row for each variant that its gate refused."""
    converted = {
        entry["body"]["digest"]: entry["body"]
        for entry in story.history
        if entry["kind"] == "variant-converted"
    }
    return [
        {
            "number": None,
            "format": converted[gate["variant_digest"]]["format"],
            "precision": converted[gate["variant_digest"]]["precision"],
            "wer": gate["report"]["metrics"]["wer"],
            "bytes": converted[gate["variant_digest"]]["bytes"],
            "answered": 0,
            "p50_ms": None,
            "p95_ms": None,
            "outcome": "refused at the gate",
        }
        for gate in story.gates
        if gate["report"]["verdict"] == "fail"
    ]


def promotion_overhead(story: Story, release: int) -> dict[str, float]:
    """Where the time of one `sluice promote` went, in seconds.

    `overhead_s` is all but what the plan and the model ask for: the load of the candidate, the
    holds of the steps, and the bake.
    """
    entries = rollout_entries(story, release)
    plan = entries[0]["body"]["plan"]
    command = next(
        ran
        for ran in story.sluice.ran
        if ran.command == "promote" and ran.value["release"]["release"] == release
    )
    begun, ended = entries[0]["at"], entries[-1]["at"]
    loaded = next(e["at"] for e in entries if e["body"].get("phase") == "loaded")
    load = loaded - begun
    holds = sum(step.get("hold_s", 0.0) for step in plan["steps"]) + plan["bake_s"]
    wall = command.ended - command.began
    return {
        "wall_s": round(wall, 3),
        "start_s": round(begun - command.began, 3),
        "load_s": round(load, 3),
        "plan_holds_s": round(holds, 3),
        "steps_beyond_holds_s": round(ended - begun - load - holds, 3),
        "finish_s": round(command.ended - ended, 3),
        "overhead_s": round(wall - load - holds, 3),
    }
