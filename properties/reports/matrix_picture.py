"""Clauses x faults as an SVG: faults from left to right, clauses from top to bottom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from itertools import groupby
from statistics import median

from properties.reports.matrix_text import headline, met, shape
from properties.zoo.matrix import Matrix, Row

WIDTH = 900
LEFT = 268  # room for the ids
RIGHT = 40  # room for the end of the last file's name
TOP = 152  # room for title, legend and the names of files
ROW = 9.5
APART = 11  # what two names need beside each other
LEAD = 14  # room for the line from a name to its file
MARGIN = 12

STYLE = """
svg { --paper: #ffffff; --ink: #1f2328; --faint: #6e7781; --band: #f3f5f8; --line: #d0d7de;
      --kill: #3f74b5; --alone: #d9730d; --bad: #cf222e }
@media (prefers-color-scheme: dark) {
  svg { --paper: #0d1117; --ink: #e6edf3; --faint: #8b949e; --band: #171c24; --line: #30363d;
        --kill: #5b9be0; --alone: #f0973a; --bad: #ff6b61 } }
text { font: 8px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: var(--ink) }
.title { font-size: 17px; font-weight: 600 }
.legend { font-size: 11px }
.file { font-size: 10px }
.faint { fill: var(--faint) }
.paper { fill: var(--paper) } .band { fill: var(--band) }
.kill { fill: var(--kill) } .alone { fill: var(--alone) } .bad { fill: var(--bad) }
.line { stroke: var(--line); stroke-width: 0.6 } .lead { fill: none }
.over { fill: transparent } .over:hover { fill: var(--faint); fill-opacity: 0.25 }
"""


def svg(matrix: Matrix, hover: bool = False) -> str:
    """The picture; hover: with a title for each fault, for a page."""
    return "\n".join(Picture(matrix).parts(hover)) + "\n"


class Picture:
    """Where everything is, and the elements that draw it."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        kills = matrix.kills
        self.ids = [id for id in matrix.clauses if id in matrix.owed or kills[id]]
        self.idle = set(matrix.idle)
        self.single = {fault: id for id, own in matrix.single.items() for fault in own}
        self.rank = {id: number for number, id in enumerate(self.ids)}
        self.rows = self.ordered()
        self.step = (WIDTH - RIGHT - LEFT) / max(1, len(self.rows))
        self.bottom = TOP + ROW * len(self.ids)

    def ordered(self) -> list[Row]:
        """Faults by file, files and faults in the order of the clauses that see them."""
        places: dict[str, list[int]] = {}
        for row in self.matrix.rows:
            places.setdefault(row.area, []).append(self.place(row))
        return sorted(
            self.matrix.rows, key=lambda row: (median(places[row.area]), row.area, self.place(row))
        )

    def place(self, row: Row) -> int:
        """Where among the clauses a fault belongs: at the first that it is said to break."""
        return min((self.rank.get(id, 0) for id in row.names[:1]), default=0)

    def parts(self, hover: bool) -> Iterator[str]:
        """All elements, from the paper up."""
        height = self.bottom + MARGIN
        title = headline(self.matrix)
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img">'
            f"<title>{escape(title)}</title><style>{STYLE}</style>"
        )
        yield f'<rect class="paper" width="{WIDTH}" height="{height:g}" rx="6"/>'
        yield text(MARGIN, 28, title, "title")
        yield from self.legend()
        yield from self.clauses()
        yield from self.files()
        yield self.cells("kill", ((r, id) for r in self.rows for id in r.killers))
        alone = (row for row in self.rows if row.fault in self.single)
        yield self.cells("alone", ((row, self.single[row.fault]) for row in alone))
        yield from self.survivors()
        if hover:
            yield from self.titles()
        yield "</svg>"

    def legend(self) -> Iterator[str]:
        """What the colours say."""
        entries = (
            ("kill", "the clause fails on the fault"),
            ("alone", "and no other clause does"),
            ("bad", "a fault that survives, a clause that kills nothing"),
        )
        x = MARGIN
        for style, words in entries:
            if style != "bad" or not self.matrix.holds:
                yield f'<rect class="{style}" x="{x}" y="41" width="9" height="9" rx="1.5"/>'
                yield text(x + 14, 49, words, "legend")
                x += 185
        asked = f"a column is a fault; profile {self.matrix.profile}, seed {self.matrix.seed}"
        yield text(WIDTH - MARGIN, 49, asked, "legend faint", "end")

    def clauses(self) -> Iterator[str]:
        """An id for each row, and every other area on a band."""
        for number, (_, members) in enumerate(groupby(self.ids, area)):
            ids = list(members)
            top = TOP + ROW * self.rank[ids[0]]
            if number % 2 == 0:
                yield (
                    f'<rect class="band" x="0" y="{top:g}" width="{WIDTH}" '
                    f'height="{ROW * len(ids):g}"/>'
                )
            for id in ids:
                style = ' class="bad"' if id in self.idle else ""
                yield (
                    f'<text{style} x="{LEFT - 5}" y="{TOP + ROW * self.rank[id] + 7:g}" '
                    f'text-anchor="end"><tspan class="faint">{area(id)}/</tspan>'
                    f"{escape(id.partition('/')[2])}</text>"
                )

    def files(self) -> Iterator[str]:
        """A line between the files of faults, and the name of each above it."""
        x, named = float(LEFT), 0.0
        for area, members in groupby(self.rows, lambda row: row.area):
            width = self.step * len(list(members))
            middle = x + width / 2
            named = max(middle, named + APART)  # narrow files have their names side by side
            yield f'<path class="line" d="M{x:.1f} {TOP - 4}V{self.bottom:g}"/>'
            yield f'<path class="line lead" d="M{middle:.1f} {TOP - 4}L{named:.1f} {TOP - LEAD}"/>'
            yield (
                f'<text class="file" text-anchor="start" '
                f'transform="translate({named + 2:.1f} {TOP - LEAD - 1}) rotate(-52)">'
                f"{escape(area)}</text>"
            )
            x += width
        yield f'<path class="line" d="M{x:.1f} {TOP - 4}V{self.bottom:g}"/>'

    def cells(self, style: str, pairs: Iterable[tuple[Row, str]]) -> str:
        """One path for all cells of a kind."""
        columns = {row.fault: number for number, row in enumerate(self.rows)}
        width, height = self.step, ROW - 1.5
        path = "".join(
            f"M{LEFT + columns[row.fault] * width:.2f} {TOP + self.rank[id] * ROW + 0.75:g}"
            f"h{width:.2f}v{height:g}h-{width:.2f}z"
            for row, id in pairs
        )
        return f'<path class="{style}" d="{path}"/>'

    def survivors(self) -> Iterator[str]:
        """A column from top to bottom for what nothing kills."""
        for number, row in enumerate(self.rows):
            if row.first is None:
                yield self.column(number, "bad")

    def titles(self) -> Iterator[str]:
        """What a pointer that rests on a fault is told."""
        for number, row in enumerate(self.rows):
            yield self.column(number, "over", f"<title>{escape(told(row))}</title>")

    def column(self, number: int, style: str, inside: str = "") -> str:
        """A rectangle over all clauses of one fault."""
        return (
            f'<rect class="{style}" x="{LEFT + number * self.step:.2f}" y="{TOP}" '
            f'width="{self.step:.2f}" height="{self.bottom - TOP:g}">{inside}</rect>'
        )


def area(id: str) -> str:
    """The part of a clause's id before the slash."""
    return id.partition("/")[0]


def text(x: float, y: float, words: str, style: str, anchor: str = "start") -> str:
    """A line of words."""
    return f'<text class="{style}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'


def told(row: Row) -> str:
    """A fault in a few lines."""
    if row.first is None:
        return f"{row.fault}\n{row.symptom}\nsurvives"
    found = f"{met(row.first)}, {shape(row.first.size)}"
    return "\n".join([row.fault, row.symptom, f"first: {found}", *row.killers])
