"""`sluice drift`: looks, cases, and what people say of them.

Only `attribute` and `watch` may move traffic, and only back, on evidence against the release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import drift_report_commands
from cli.durations import seconds
from cli.output import Output, OutputOption, emit, print_pairs, print_table
from cli.session import ModelArgument, find_workspace
from cli.wave_commands import RegionOption, acting_platform

if TYPE_CHECKING:
    from collections.abc import Callable

    from drift.case import DriftState
    from drift.case_steps import Draft
    from pipelines.assembly import Platform

_CASES_SHOWN = 5

drift = typer.Typer(
    no_args_is_help=True,
    help="Is the traffic, or are the answers, not as they were before? All commands take "
    "`--output json`. Example: sluice drift check whisper-grid",
)

_FINDING_EXIT_CODES = {"neither": 0, "model": 1, "data": 1, "not enough": 3}

AdviseOption = Annotated[bool, typer.Option("--advise", help="Only recommend: roll nothing back.")]
WhyOption = Annotated[str, typer.Option("--reason", help="Why; kept in the journal.")]


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (check, learn, attribute, watch, show, ack, mute, unmute, clear):
        drift.command()(command)
    drift_report_commands.add_to(drift)
    app.add_typer(drift, name="drift")


def check(
    model: ModelArgument,
    window: Annotated[
        str,
        typer.Option("--window", metavar="TIME", help="How far back: 30m, 2h. Default: window_s."),
    ] = "",
    requests: Annotated[
        int, typer.Option("--requests", min=0, help="The last so many instead, within a day.")
    ] = 0,
    region: RegionOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Compare the last window of the prediction log with what came before. Moves no traffic.

    A window that begins after the last one ended is kept: it is part of the past that later ones
    are held against, and it opens, worsens or ends a case.

    Exit 0: quiet, or only worth watching. 1: alarm. 3: not enough data.

    Example: sluice drift check whisper-grid --window 30m
    """
    import time

    from cli.progress import progress
    from pipelines.drift_cases import look
    from pipelines.drift_spans import span_of_last

    platform, now = acting_platform(model, region), time.time()
    window_s = seconds(window) if window else None
    with progress():
        if requests:
            window_s = span_of_last(platform.workspace, model, requests, now)
        found = look(platform, model, now=now, window_s=window_s)
    value = found.to_json()
    emit(output, value, lambda: print_pairs(value.items()))
    raise typer.Exit({"alarm": 1, "not enough data": 3}.get(found.check.verdict, 0))


def learn(
    model: ModelArgument,
    *,
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="How far back.")] = 30,
    window: Annotated[
        str, typer.Option("--window", metavar="TIME", help="Its length. Default: window_s.")
    ] = "",
    region: RegionOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Judge the window that ended at this time of day on each of the last days, and keep them.

    An alarm needs 14 days to know what days differ by. Where the log has them already, as after
    `sluice log import`, this gives it its past at once. Opens no case and calls nobody.

    Example: sluice drift learn whisper-grid --days 30
    """
    import time

    from cli.progress import progress
    from pipelines.drift_cases import learn as learned

    platform = acting_platform(model, region)
    window_s = seconds(window) if window else None
    with progress():
        value = learned(platform, model, days=days, now=time.time(), window_s=window_s)
    emit(output, value, lambda: print_pairs(value.items()))


def attribute(
    model: ModelArgument,
    *,
    advise: AdviseOption = False,
    longest: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long at most: 90s, 30m, 2h.")
    ] = "",
    region: RegionOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Tell the open case apart: whether the release is worse, or the world changed.

    The release before answers copies of the live traffic; nobody gets those answers. A release
    that is worse on the same inputs is rolled back by itself, where `[drift]` lets it be. Ctrl-C
    ends the copying; the pairs that were counted stay, and the next call goes on with them.

    Exit 0: neither is worse. 1: the release is, or both are. 3: not enough pairs.

    Example: sluice drift attribute whisper-grid --for 10m
    """
    from cli.progress import progress
    from infra.local.stack import require_up
    from pipelines.drift_attribution import attribute as attributed
    from pipelines.notifications import notifying

    platform = acting_platform(model, region)
    longest_s = seconds(longest) if longest else None
    require_up(platform.workspace)
    with notifying(platform, model), progress():
        found = attributed(platform, model, advise=advise, longest_s=longest_s)
    value = found.to_json()
    emit(output, value, lambda: print_pairs(_told(value).items()))
    raise typer.Exit(_FINDING_EXIT_CODES[found.finding])


def watch(
    model: ModelArgument,
    *,
    every: Annotated[
        str, typer.Option("--every", metavar="TIME", help="Default: window_s of the policy.")
    ] = "",
    window: Annotated[
        str, typer.Option("--window", metavar="TIME", help="Judged in each round.")
    ] = "",
    rounds: Annotated[int, typer.Option("--rounds", min=0, help="0: until Ctrl-C.")] = 0,
    advise: AdviseOption = False,
    region: RegionOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Look again and again, attribute what alarms, and go back where a release is worse.

    Each round is a run of the flow `drift-watch`, which a Prefect schedule can run as well. A
    round that fails is told, and the next one begins all the same.

    Exit: of the last round, 0 quiet or settled, 1 alarm, 2 it failed, 3 not enough data.

    Example: sluice drift watch whisper-grid --every 15m --rounds 1
    """
    from cli.drift_rounds import run_rounds
    from pipelines.model_config import load_model_config

    platform = acting_platform(model, region)
    policy = load_model_config(platform.workspace, model).drift
    window_s = seconds(window) if window else policy.window_s
    every_s = seconds(every) if every else window_s
    arguments = {"model": model, "window_s": window_s, "advise": advise, "actor": platform.actor}
    arguments["region"] = region
    code = run_rounds(find_workspace(), arguments, every_s=every_s, rounds=rounds, output=output)
    raise typer.Exit(code)


def show(
    model: ModelArgument, region: RegionOption = "", output: OutputOption = Output.TABLE
) -> None:
    """Tell the open case, who took it, what is muted, and the cases before. Asks no engine.

    Example: sluice drift show whisper-grid --output json
    """
    from pipelines.drift_cases import state_of, told

    platform = acting_platform(model, region)
    state = state_of(platform, model)
    emit(output, told(state), lambda: _show(state))


def ack(
    model: ModelArgument,
    reason: WhyOption = "",
    region: RegionOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Take the open case: whoever is on call knows of it.

    Example: sluice drift ack whisper-grid --reason "new microphones in Hanoi"
    """
    from drift.case_steps import acknowledge

    platform = acting_platform(model, region)
    _write(platform, model, output, lambda state, _: acknowledge(state, reason))


def mute(
    model: ModelArgument,
    *,
    lasts: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long: 2h, 3d; 30d most.")
    ],
    reason: WhyOption,
    column: Annotated[
        list[str] | None, typer.Option("--column", help="Only alarms of it; may be repeated.")
    ] = None,
    region: RegionOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Call nobody for a while. Cases open all the same.

    Example: sluice drift mute whisper-grid --for 12h --reason "load test" --column rms
    """
    from drift.case_steps import mute as muted

    platform, lasts_s, columns = acting_platform(model, region), seconds(lasts), column or ()
    _write(
        platform,
        model,
        output,
        lambda _, at: muted(at=at, until=at + lasts_s, reason=reason, columns=columns),
    )


def unmute(
    model: ModelArgument,
    reason: WhyOption = "",
    region: RegionOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Call people again.

    Example: sluice drift unmute whisper-grid --reason "the load test is over"
    """
    from drift.case_steps import unmute as unmuted

    _write(acting_platform(model, region), model, output, lambda state, _: unmuted(state, reason))


def clear(
    model: ModelArgument,
    reason: WhyOption,
    region: RegionOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """End the open case: somebody knows what it was.

    Example: sluice drift clear whisper-grid --reason "a holiday; checked by ear"
    """
    from drift.case_steps import clear as cleared

    _write(acting_platform(model, region), model, output, lambda state, _: cleared(state, reason))


def _told(value: dict[str, Any]) -> dict[str, object]:
    """What a person reads of a finding: the rest is for machines."""
    left = value["pairs_more"]
    return {
        "case": f"{value['case']}, release {value['release']}",
        "finding": value["finding"],
        "reason": value["reason"],
        "pairs": f"{value['pairs']}, e-value {value['e_value']:.3g}",
        **({"needs": f"about {left} pairs more"} if left else {}),
        **({"rolled back to": value["rolled_back_to"]} if value["rolled_back_to"] else {}),
        **({"not rolled back": value["not_rolled_back"]} if value["not_rolled_back"] else {}),
    }


def _write(
    platform: Platform, model: str, output: Output, step: Callable[[DriftState, float], Draft]
) -> None:
    import time

    from pipelines.drift_cases import told, write_down

    state = write_down(platform, model, step, time.time())
    emit(output, told(state), lambda: _show(state))


def _show(state: DriftState) -> None:
    case, muted = state.case, state.mute
    rows: list[tuple[str, object]] = [("model", state.model), ("case", "none is open")]
    if case is not None:
        rows = [
            ("model", state.model),
            ("case", f"{case.number}, {case.severity}: release {case.release}"),
            ("reason", case.reason),
            ("columns", ", ".join(case.columns)),
            ("since", _clock(case.since)),
            ("taken by", case.acknowledged_by or "nobody yet"),
            ("finding", case.attribution or "not attributed yet"),
        ]
    if muted is not None:
        what = ", ".join(muted.columns) or "everything"
        rows.append(("muted", f"{what} until {_clock(muted.until)}: {muted.reason}"))
    print_pairs(rows)
    if state.ended:
        typer.echo()
        print_table(
            ["case", "release", "opened", "ended", "why it ended"],
            [
                [one.number, one.release, _clock(one.opened_at), _clock(one.ended_at or 0), one.end]
                for one in state.ended[-_CASES_SHOWN:]
            ],
        )


def _clock(at: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).strftime("%m-%d %H:%M")
