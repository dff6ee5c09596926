"""Which of the devices that a configuration asks for are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.local.backends.config import UnservableError

if TYPE_CHECKING:
    from collections.abc import Sequence


def devices_of(target: str, available: Sequence[str]) -> str:
    """`target` without the devices that this machine lacks.

    OpenVINO itself fails on `AUTO:NPU,GPU,CPU` where one of them has no driver. Raises
    UnservableError when none is left.
    """
    mode, _, names = target.upper().partition(":")
    if mode not in {"AUTO", "MULTI", "HETERO"}:
        mode, names = "", mode
    elif not names:
        names = ",".join(available)
    present = [name for name in names.split(",") if _is_there(name, available)]
    if not present:
        raise UnservableError(
            f"TARGET_DEVICE {target}: this machine has {', '.join(available)} only"
        )
    return present[0] if not mode or present == ["CPU"] else f"{mode}:{','.join(present)}"


def _is_there(name: str, available: Sequence[str]) -> bool:
    """GPU stands for GPU.0, GPU.1 and so on."""
    return any(device == name or device.startswith(f"{name}.") for device in available)
