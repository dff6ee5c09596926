"""Writes the corpus and what was said of it into the page: `python -m tests.intake.table`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from registry.errors import UserError
from registry.intake.archives import is_archive, unpack
from registry.intake.gatekeeper import admit

from .attacks import ATTACKS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "intake.md"
BEGIN, END = "<!-- corpus: begin -->\n", "<!-- corpus: end -->\n"


def table() -> str:
    """A row for each attack: what it is, where it comes from, what was said of it."""
    rows = ["| attack | from | refused with |", "|---|---|---|"]
    for attack in ATTACKS:
        with tempfile.TemporaryDirectory() as work:
            root = Path(work)
            folder, target = root / "incoming", root / "unpacked"
            folder.mkdir()
            target.mkdir()
            given = attack.make(folder, root / "canary") or folder
            try:
                admit(unpack(given, target) if is_archive(given) else given)
                said = "**came in**"
            except UserError as error:
                said = error.what
        cells = (attack.name, attack.source, said)
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def page(text: str) -> str:
    """The page with its table made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
