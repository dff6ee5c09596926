"""Takes the job's OIDC token into a file that `sluice` reads who acts from; without one, says so.

The token is in no argument, no output and no log: only the file's path goes on, by `$GITHUB_ENV`.
Needs `permissions: id-token: write`. A pull request from a fork never has it.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.parse
import urllib.request
from pathlib import Path

TIMEOUT_S = 30


def main() -> None:
    """Write the token. Raises URLError or ValueError where it was granted and cannot be had."""
    address = os.environ.get("ACTIONS_ID_TOKEN_REQUEST_URL", "")
    audience = os.environ.get("AUDIENCE", "")
    if not address or not audience:
        actor = os.environ.get("SLUICE_ACTOR", "nobody")
        sys.stdout.write(f"no OIDC token was granted or asked for: acting as {actor}, by name\n")
        return
    request = urllib.request.Request(  # noqa: S310 - GitHub's own address, from the runner
        f"{address}&audience={urllib.parse.quote(audience, safe='')}",
        headers={"Authorization": f"bearer {os.environ['ACTIONS_ID_TOKEN_REQUEST_TOKEN']}"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - as above
        token = json.load(answer)["value"]
    path = Path(os.environ["RUNNER_TEMP"]) / "sluice-id-token"
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token)
    with Path(os.environ["GITHUB_ENV"]).open("a") as variables:
        variables.write(f"SLUICE_ID_TOKEN_FILE={path}\n")


if __name__ == "__main__":
    main()
