"""Two pictures of the matrix: a summary, and beside it every clause against every fault."""

from __future__ import annotations

from pathlib import Path

from properties.reports import matrix_picture, matrix_summary
from properties.zoo.matrix import Matrix


def write(matrix: Matrix, path: Path) -> None:
    """Both as files, the second one with "-in-full" in its name."""
    path.write_text(matrix_summary.svg(matrix), encoding="utf-8")
    whole = path.with_name(f"{path.stem}-in-full{path.suffix}")
    whole.write_text(matrix_picture.svg(matrix), encoding="utf-8")
