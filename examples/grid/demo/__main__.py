"""The demo: a trained Whisper from a folder to live traffic on Triton, and back, in seven acts.

Run by `make demo`. Everything it does is a `sluice` command that you could type; it prints each.
Leaves `build/demo/` (a page, a summary, the workspace) and nothing running, also on Ctrl-C.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from pathlib import Path

from acts import MODEL, Story
from client import Client
from commands import CommandFailedError, Sluice
from figures import summarise
from page import write_page
from play import play

CHECKOUT = Path(__file__).resolve().parents[3]
BUILD = CHECKOUT / "build" / "demo"


def main() -> int:
    """Play the acts, then tell what was measured. Returns the exit code."""
    started = time.time()
    sluice = Sluice(BUILD / "workspace")
    client = Client(BUILD / "traffic.jsonl")
    story = Story(sluice, client, CHECKOUT / "examples" / "grid")
    try:
        if BUILD.exists():
            sluice.quietly("down")
            shutil.rmtree(BUILD)
        BUILD.mkdir(parents=True)
        play(story)
    except KeyboardInterrupt:
        print("\nstopped: taking everything down", flush=True)
        return 130
    except CommandFailedError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 2
    finally:
        _take_down(sluice, client)
    summary = summarise(story, client.records(), seconds=time.time() - started)
    (BUILD / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    write_page(BUILD / "index.html", story, client.records(), summary)
    _tell(summary)
    return 0 if _holds(summary) else 1


def _take_down(sluice: Sluice, client: Client) -> None:
    """Stop the client and the engines; a second Ctrl-C does not stop this."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        client.stop()
        sluice.quietly("down")
    finally:
        signal.signal(signal.SIGINT, before)


def _holds(summary: dict) -> bool:
    """Whether the demo showed what it says: no request lost, every transcript and finding right."""
    requests = summary["requests"]
    findings = [found["finding"] for found in summary["drift"]]
    lost = requests["failed"] or requests["wrong"]
    return not lost and findings == ["data", "model"]


def _tell(summary: dict) -> None:
    print(f"\n{MODEL} after {summary['seconds']:.0f} s")
    print("release  format    precision     WER     size    p50      p95      outcome")
    for row in summary["releases"]:
        p50, p95 = (
            "-" if row[key] is None else f"{row[key]:.1f} ms" for key in ("p50_ms", "p95_ms")
        )
        print(
            f"{row['number'] or '-':<8} {row['format']:<9} {row['precision']:<10}"
            f"{row['wer']:>8.2%} {row['bytes'] / 1e6:>5.2f} MB  {p50:<8} {p95:<8} {row['outcome']}"
        )
    requests, rollback = summary["requests"], summary["rollback"]
    print(
        f"\nrequests: {requests['sent']} sent, {requests['failed']} failed, "
        f"{requests['wrong']} wrong; the faulty release failed {requests['faulty_release_errors']}"
    )
    print(
        f"automatic rollback: first bad answer to decision "
        f"{rollback['first_bad_to_decision_s']:.1f} s "
        f"({rollback['first_bad_to_decision_requests']} requests), "
        f"decision to last bad answer {rollback['decision_to_last_bad_ms']:.0f} ms"
    )
    for found in summary["drift"]:
        back = found["rolled_back_to"]
        did = f"back to release {back}" if back else "nothing was moved"
        print(f"drift: {found['finding']} ({found['pairs']} pairs): {did}")
    print(f"promotion overhead: {summary['promotion_overhead_s']:.1f} s")
    print(f"page: {BUILD / 'index.html'}\nsummary: {BUILD / 'summary.json'}")


if __name__ == "__main__":
    sys.exit(main())
