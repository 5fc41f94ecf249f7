"""Areas of clauses x files of faults as an SVG that can be read where a page is narrow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from html import escape

from properties.reports.matrix_picture import MARGIN, STYLE, Picture, area, text
from properties.reports.matrix_text import headline
from properties.zoo.matrix import Matrix

WIDTH = 830
LEFT = 92  # room for the names of areas
RIGHT = 36  # room for the end of the last file's name
TOP = 146  # room for title, legend and the names of files
ROW = 22
LARGER = ".cell, .name { font-size: 11.5px } .light { fill: var(--paper) }"
WORDS = "how many faults of a kind (column) the laws of an area (row) see; darker: a larger share"
DARK = 0.55  # a share above which the number on it is light


def svg(matrix: Matrix) -> str:
    """The picture."""
    return "\n".join(Summary(matrix).parts()) + "\n"


class Summary:
    """How many faults of a file the clauses of an area see."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        whole = Picture(matrix)
        self.files = list(dict.fromkeys(row.area for row in whole.rows))
        self.sizes = Counter(row.area for row in whole.rows)
        self.areas = list(dict.fromkeys(map(area, whole.ids)))
        self.seen = Counter(
            (kind, row.area) for row in whole.rows for kind in {area(id) for id in row.killers}
        )
        self.step = (WIDTH - LEFT - RIGHT) / max(1, len(self.files))
        self.bottom = TOP + ROW * len(self.areas)

    def parts(self) -> Iterator[str]:
        """All elements, from the paper up."""
        height, title = self.bottom + ROW + MARGIN, headline(self.matrix)
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img">'
            f"<title>{escape(title)}</title><style>{STYLE}{LARGER}</style>"
        )
        yield f'<rect class="paper" width="{WIDTH}" height="{height:g}" rx="6"/>'
        yield text(MARGIN, 28, title, "title")
        yield text(
            MARGIN,
            48,
            WORDS,
            "name faint",
        )
        for number, file in enumerate(self.files):
            yield from self.column(number, file)
        for number, kind in enumerate(self.areas):
            yield text(LEFT - 8, TOP + ROW * number + 15, kind, "name", "end")
        yield text(LEFT - 8, self.bottom + 17, "faults", "name faint", "end")
        yield "</svg>"

    def column(self, number: int, file: str) -> Iterator[str]:
        """A file's name, how many of its faults each area sees, and how many there are."""
        x = LEFT + number * self.step
        middle = x + self.step / 2
        yield (
            f'<text class="name" transform="translate({middle:.1f} {TOP - 8}) rotate(-52)">'
            f"{escape(file)}</text>"
        )
        for row, kind in enumerate(self.areas):
            if count := self.seen[kind, file]:
                share, y = count / self.sizes[file], TOP + ROW * row
                yield (
                    f'<rect class="kill" x="{x + 1:.1f}" y="{y + 1}" width="{self.step - 2:.1f}" '
                    f'height="{ROW - 2}" rx="3" fill-opacity="{0.15 + 0.85 * share:.2f}"/>'
                )
                style = "cell light" if share > DARK else "cell"
                yield text(round(middle, 1), y + 15, str(count), style, "middle")
        yield text(
            round(middle, 1), self.bottom + 17, str(self.sizes[file]), "cell faint", "middle"
        )
