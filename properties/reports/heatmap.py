"""A grid of numbers as rectangles: places, shades and texts for the page's SVG."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from properties.reports.characters import Cells, Grid, short

LARGE, SMALL, TINY = 46, 26, 14  # sides of a cell
NUMBERED = 8  # columns that have room for numbers
MEDIUM = 16
MARGIN = 26  # for the indices of rows and columns
DARK = 0.55  # a shade above which the text on it is light


@dataclass(frozen=True)
class Cell:
    """One number: its place, its shade from 0 to 1, and whether it is off."""

    x: int
    y: int
    number: float | str
    expected: float | str
    shade: float
    is_off: bool
    words: str

    @property
    def style(self) -> str:
        """Its class: the sign decides the hue, what is no number is hatched."""
        if isinstance(self.number, str):
            return "strange"
        return "negative" if self.number < 0.0 else "positive"

    @property
    def text(self) -> str:
        """The number in at most five characters."""
        return "0" if self.number == 0.0 else short(self.number)

    @property
    def text_style(self) -> str:
        """Light on a dark shade, faint for a zero."""
        if self.number == 0.0:
            return "zero"
        return "on-dark" if self.shade > DARK else "on-light"


@dataclass(frozen=True)
class Heatmap:
    """One drawn grid; `words` says what is in it to those who cannot see it."""

    title: str
    words: str
    side: int
    cells: list[Cell]
    rows: int
    columns: int

    @property
    def width(self) -> int:
        """Of the whole drawing."""
        return MARGIN + self.columns * self.side + 2

    @property
    def height(self) -> int:
        """Of the whole drawing."""
        return MARGIN + self.rows * self.side + 2

    @property
    def numbered(self) -> bool:
        """Whether there is room for a number in each cell."""
        return self.side == LARGE

    @property
    def indices(self) -> Iterator[tuple[int, int, int]]:
        """Index and place of every row and column: (index, x, y)."""
        step = 1 if self.side >= SMALL else 4
        for column in range(0, self.columns, step):
            yield column, MARGIN + column * self.side + self.side // 2, MARGIN // 2
        for row in range(0, self.rows, step):
            yield row, MARGIN // 2, MARGIN + row * self.side + self.side // 2


def pair(evidence: dict[str, Any]) -> list[Heatmap]:
    """What was expected and what came, in the same shades."""
    off = {(row, column) for row, column in evidence["off"]}
    largest = max(size(n) for name in ("expected", "actual") for row in evidence[name] for n in row)
    return [
        heatmap("expected", evidence, evidence["expected"], set(), largest),
        heatmap("got", evidence, evidence["actual"], off, largest),
    ]


def heatmap(
    title: str, evidence: dict[str, Any], grid: Grid, off: Cells, largest: float
) -> Heatmap:
    """One grid, its shades relative to the largest magnitude of both."""
    columns = len(grid[0])
    side = LARGE if columns <= NUMBERED else SMALL if columns <= MEDIUM else TINY
    cells = [
        Cell(
            x=MARGIN + column * side,
            y=MARGIN + row * side,
            number=number,
            expected=evidence["expected"][row][column],
            shade=round(size(number) / largest, 3) if largest else 0.0,
            is_off=(row, column) in off,
            words=f"{evidence['rows']} {row}, {evidence['columns']} {column}",
        )
        for row, line in enumerate(grid)
        for column, number in enumerate(line)
    ]
    words = f"{title}, {len(grid)} by {columns}"
    if off:
        words += f"; {len(off)} off: " + "; ".join(in_words(cell) for cell in cells if cell.is_off)
    return Heatmap(title, words, side, cells, len(grid), columns)


def in_words(cell: Cell) -> str:
    """A cell that is off, said."""
    return f"{cell.words}: expected {cell.expected}, got {cell.number}"


def size(number: float | str) -> float:
    """The magnitude; none for what is no number, which evidence writes as text."""
    return 0.0 if isinstance(number, str) else abs(number)
