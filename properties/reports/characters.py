"""A failure's picture in characters: it works without colour and in a log."""

from __future__ import annotations

from typing import Any

from properties.reports.lines import wrapped

GAP = 3
Grid = list[list[float | str]]
Cells = set[tuple[int, int]]


def picture(evidence: dict[str, Any], width: int) -> list[str]:
    """The expected grid and the actual one, side by side where `width` has room for both.

    A grid too wide for numbers becomes a map.
    """
    off = {(row, column) for row, column in evidence["off"]}
    grids = evidence["expected"], evidence["actual"]
    room = max(len(short(number)) for grid in grids for row in grid for number in row)
    expected = numbers("expected", grids[0], set(), room)
    actual = numbers("got", grids[1], off, room)
    across = len(actual[0])
    if 2 * across + GAP <= width:
        lines = [left + " " * GAP + right for left, right in zip(expected, actual, strict=True)]
    elif across <= width:
        lines = [*expected, *actual]
    else:
        lines = marks(grids[1], off)
    said = [part for line in caption(evidence) for part in wrapped(line, width, "", "  ")]
    return [*said, *(line.rstrip() for line in lines), *too_small_to_see(evidence)]


def caption(evidence: dict[str, Any]) -> list[str]:
    """What is drawn, of which case, what the axes are and what the marks mean."""
    case = "the smallest case" if evidence["own"] else evidence["case"]
    axes = f"row: {evidence['rows']}, column: {evidence['columns']}"
    return [f"{evidence['title']}, of {case}", f"{axes}; [ ] {marked(evidence)}"]


def marked(evidence: dict[str, Any]) -> str:
    """What a marked cell does."""
    return "sees the future" if evidence["kind"] == "leak" else "is off by more than rounding"


def numbers(title: str, grid: Grid, off: Cells, room: int) -> list[str]:
    """A grid with its title and the index of each row and column; all lines of one width."""
    heads = "".join(f" {column:>{room}} " for column in range(len(grid[0])))
    lines = [f"   {heads}"]
    for row, line in enumerate(grid):
        cells = (cell(number, (row, c) in off, room) for c, number in enumerate(line))
        lines.append(f"{row:>2} {''.join(cells)}")
    return [title.ljust(len(lines[0])), *lines]


def cell(number: float | str, is_off: bool, room: int) -> str:
    """One number in brackets if it is off."""
    text = f"{short(number):>{room}}"
    return f"[{text}]" if is_off else f" {text} "


def short(number: float | str) -> str:
    """At most five characters: '.', '~0', '0.25', '-12.3', '-1e5', 'nan'."""
    if isinstance(number, str):
        return number
    size = abs(number)
    if number == 0.0:
        return "."
    if size < 0.005:
        return "~0"
    if size < 999.5:
        return f"{number:.{2 if size < 9.995 else 1 if size < 99.95 else 0}f}"
    return exponential(number)


def exponential(number: float) -> str:
    """One digit and an exponent, 1e-9."""
    mantissa, exponent = f"{number:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def marks(grid: Grid, off: Cells) -> list[str]:
    """One character a cell: X is off, o is as expected, . is zero as expected."""
    lines = ["got: o as expected, . zero as expected; X stands for [ ]"]
    for row, line in enumerate(grid):
        marked = ("X" if (row, c) in off else "." if n == 0.0 else "o" for c, n in enumerate(line))
        lines.append(f"{row:>2} {' '.join(marked)}")
    return lines


def too_small_to_see(evidence: dict[str, Any]) -> list[str]:
    """The first cell that is off in full, where the grid shows it as it should be."""
    row, column = evidence["off"][0]
    expected, actual = (evidence[name][row][column] for name in ("expected", "actual"))
    if short(expected) != short(actual):
        return []
    place = f"{evidence['rows']} {row}, {evidence['columns']} {column}"
    return [f"off by little: {place} is {actual!r}, expected {expected!r}"]
