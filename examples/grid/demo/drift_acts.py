"""Two acts about drift: the world changes, and a release that only some inputs show to be worse."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from acts import MODEL
from client import Traffic

if TYPE_CHECKING:
    from pathlib import Path

    from acts import Story

WINDOW_S = 15
DAYS = 20
DAY_ROWS_PER_S = 4
DAY_COVERS_S = (30, 270)
"""Before and after this time of day."""
POLICY = f"""
[drift]
window_s = {WINDOW_S}
cooldown_s = 0
"""
NOISE_DB = -8.0
SLOW_SHARE = 0.3


def louder(story: Story) -> None:
    """Act 5: noise rises for whoever answers; going back would help nobody."""
    story.act("background noise rises: an alarm, and no rollback, since no release is to blame")
    learn_the_past(story)
    story.send(Traffic(noise_db=NOISE_DB, requests_a_session=2))
    watch(story)
    story.sluice("drift", "clear", MODEL, "--reason", "a street market; recordings are on the way")


def slower(story: Story) -> None:
    """Act 6: the release that cannot hear slow talkers goes live while there are none."""
    story.act("a release that is worse on a rising kind of input is rolled back by itself")
    story.send(Traffic(slow_share=0.0, requests_a_session=2))
    story.sluice("promote", MODEL, "--release", str(max(story.promotions)))
    began = time.time()
    story.send(Traffic(slow_share=SLOW_SHARE, requests_a_session=2))
    watch(story)
    story.unanswerable.append((began, time.time()))
    story.send(Traffic())


def watch(story: Story) -> None:
    """Let a window of this traffic pass, and watch it once."""
    time.sleep(WINDOW_S + 1)
    began = time.time()
    found = story.sluice("drift", "watch", MODEL, "--rounds", "1", expect=1)
    story.findings.append({**found, "began": began, "ended": time.time()})


def learn_the_past(story: Story) -> None:
    """Twenty earlier days, drawn from what was just served, as if the log had had them."""
    policy = story.sluice.workspace / "models" / f"{MODEL}.toml"
    print(f"# in models/{MODEL}.toml: [drift] window_s = {WINDOW_S}", flush=True)
    policy.write_text(policy.read_text() + POLICY)
    days = story.sluice.workspace / "earlier-days.parquet"
    live = max(number for number in story.promotions if is_live(story, number))
    pq.write_table(earlier_days(served(story.sluice.workspace, live)), days)
    story.sluice("log", "import", MODEL, str(days), "--release", str(live))
    story.sluice("drift", "learn", MODEL, "--days", str(DAYS))


def is_live(story: Story, number: int) -> bool:
    """Whether its promotion settled."""
    return bool(story.promotions[number]["rollout"]["outcome"] == "settled")


def served(workspace: Path, release: int) -> pa.Table:
    """What the release answered to callers, from its prediction log."""
    folder = workspace / ".sluice" / "predictions" / f"model={MODEL}" / f"release={release}"
    parts = [pq.ParquetFile(path).read() for path in sorted(folder.glob("hour=*/*.parquet"))]
    table = pa.concat_tables(parts)
    return table.filter(pc.invert(table.column("shadow")))


def earlier_days(table: pa.Table) -> pa.Table:
    """Days of such records around this time of day, each request drawn at random."""
    random, now = np.random.default_rng(3), datetime.now(UTC)
    before, after = DAY_COVERS_S
    rows = DAY_ROWS_PER_S * (before + after)
    days = []
    for day in range(1, DAYS + 1):
        drawn = table.take(random.integers(0, table.num_rows, rows))
        seconds = np.sort(random.uniform(-before, after, rows))
        at = [now + timedelta(days=-day, seconds=float(second)) for second in seconds]
        own = {
            "at": pa.array(at, table.schema.field("at").type),
            "session": pa.array([f"day-{day}-{row // 2}" for row in range(rows)]),
            "request": pa.array([f"day-{day}-{row}" for row in range(rows)]),
        }
        for name, column in own.items():
            drawn = drawn.set_column(drawn.schema.get_field_index(name), name, column)
        days.append(drawn)
    return pa.concat_tables(days)
