"""`python -m infra.work_pools show|create KIND`: for images and people without a checkout.

`show` prints the template for `prefect work-pool create --base-job-template`; `create` makes the
pool. SLUICE_WORKER_IMAGE and SLUICE_NAMESPACE, where set, become its defaults.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from infra.work_pools import KINDS, POOL, create, template
from registry.errors import SluiceError

_VARIABLES = {"image": "SLUICE_WORKER_IMAGE", "namespace": "SLUICE_NAMESPACE"}
_TAKEN = {"docker": ("image",), "kubernetes": ("image", "namespace")}


def main(words: list[str]) -> int:
    """Do as told. Returns the exit code: 0, or 2 with one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m infra.work_pools", description=__doc__)
    parser.add_argument("action", choices=("show", "create"))
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--name", default=POOL)
    told = parser.parse_args(words)
    defaults = {
        name: os.environ[_VARIABLES[name]]
        for name in _TAKEN.get(told.kind, ())
        if os.environ.get(_VARIABLES[name])
    }
    try:
        if told.action == "create":
            create(told.kind, defaults, told.name)
            sys.stdout.write(f"work pool {told.name}: {told.kind}\n")
        else:
            sys.stdout.write(json.dumps(template(told.kind, defaults), indent=2) + "\n")
    except SluiceError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
