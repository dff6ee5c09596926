"""Where parts of a command's work run: threads of this process, or a Dask cluster's processes."""

from __future__ import annotations

import importlib.util
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prefect.task_runners import TaskRunner

    from registry.fan_out_settings import FanOut

DASK_PACKAGE = "prefect-dask"

Item = TypeVar("Item")


def task_runner(section: FanOut, name: str) -> TaskRunner[Any]:
    """A runner of `section.shards` tasks at a time; `name` is the section's.

    Raises UserError when the runner is not installed.
    """
    if section.runner == "local":
        from prefect.task_runners import ThreadPoolTaskRunner

        return ThreadPoolTaskRunner(max_workers=section.shards)
    if importlib.util.find_spec("prefect_dask") is None:
        raise UserError(
            f"[{name}] runner is dask, but {DASK_PACKAGE} is not installed",
            where="sluice.toml",
            remedy='run `uv pip install "sluice[dask]"`, or set runner = "local"',
        )
    from prefect_dask.task_runners import DaskTaskRunner

    return DaskTaskRunner(
        cluster_kwargs={
            "n_workers": section.shards,
            "threads_per_worker": 1,
            "processes": True,
            "host": "127.0.0.1",
            # Nothing of it is to be seen from outside, and nothing listens that nobody reads.
            "dashboard_address": None,
        }
    )


def contiguous(items: Sequence[Item], count: int) -> list[list[Item]]:
    """`items` in at most `count` runs whose lengths differ by at most one, none of them empty."""
    count = min(count, len(items))
    borders = [len(items) * number // count for number in range(count + 1)] if items else []
    return [list(items[begin:end]) for begin, end in pairwise(borders)]
