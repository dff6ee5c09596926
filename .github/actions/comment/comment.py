"""Puts a report on a pull request as one comment, which later runs change instead of adding one.

The comment is found by a mark that no reader sees, and only among those of the same author:
somebody else's comment with the same mark is left alone. Only the standard library is used.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

LONGEST = 65_000
"""GitHub takes 65,536 characters."""
PAGES = 20
TIMEOUT_S = 30


def main() -> int:
    """Make the comment or change it; 1 when GitHub refuses."""
    report = Path(os.environ["REPORT"]).read_text(encoding="utf-8")
    mark = f"<!-- sluice: {os.environ['MARK']} -->"
    if len(report) > LONGEST:
        report = report[:LONGEST] + "\n\n(cut short; the artifact of the job has all of it)\n"
    body = {"body": f"{mark}\n{report}"}
    pull_request = f"issues/{int(os.environ['NUMBER'])}/comments"
    try:
        known = _ours(pull_request, mark)
        if known is None:
            made = _ask("POST", pull_request, body)
        else:
            made = _ask("PATCH", f"issues/comments/{known}", body)
    except urllib.error.HTTPError as error:
        told = "the token may not comment: give the job `pull-requests: write`"
        why = told if error.code in {401, 403, 404} else error.reason
        sys.stdout.write(f"::warning::no comment was made ({error.code}): {why}\n")
        return 1
    sys.stdout.write(f"{made['html_url']}\n")
    return 0


def _ours(pull_request: str, mark: str) -> int | None:
    author = os.environ.get("AUTHOR", "github-actions[bot]")
    for page in range(1, PAGES + 1):
        comments = _ask("GET", f"{pull_request}?per_page=100&page={page}")
        for comment in comments:
            if comment["user"]["login"] == author and comment["body"].startswith(mark):
                return int(comment["id"])
        if len(comments) < 100:
            break
    return None


def _ask(method: str, path: str, body: dict[str, str] | None = None) -> Any:
    place = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}"
    request = urllib.request.Request(  # noqa: S310 - GitHub's own address, from the runner
        f"{place}/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - as above
        return json.load(answer)


if __name__ == "__main__":
    sys.exit(main())
