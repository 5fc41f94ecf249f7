"""Where a line of code is, as its author finds it: in a file, or in a cell of a notebook."""

from __future__ import annotations

from types import FrameType


def located(file: str, frame: FrameType, line: int) -> str:
    """`file:line`, or `file, cell n, line m` where the code came from the cells of a notebook.

    The module of such code keeps the line at which each cell starts in `__cells__`.
    """
    cells: dict[int, int] = frame.f_globals.get("__cells__", {})
    starts = [start for start in cells if start <= line]
    if not starts:
        return f"{file}:{line}"
    return f"{file.strip('<>')}, cell {cells[max(starts)]}, line {line - max(starts) + 1}"
