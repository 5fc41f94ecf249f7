"""Draw README's picture: `python docs/picture.py` writes docs/verdict.svg."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI

from properties.report.terminal import show
from properties.runner import run
from properties.targets import find

HERE = Path(__file__).parent
COMMAND = "attention-properties check docs/leaky.py:LeakyAttention"
SHOWN = 24  # clauses of the table that the picture has room for


def main() -> None:
    """Check the leaky module and keep what a terminal would show."""
    report = run(find(f"{HERE / 'leaky.py'}:LeakyAttention")[0])
    chosen = [r for r in report.results if r.clause.startswith(("causality", "weights"))]
    report = replace(report, subject="docs/leaky.py:LeakyAttention", seconds=round(report.seconds))
    console = Console(record=True, width=100, file=StringIO(), force_terminal=True)
    console.print(f"$ {COMMAND}", style="bold")
    show(replace(report, results=chosen[:SHOWN]), console)
    console.save_svg(str(HERE / "verdict.svg"), title="a verdict", theme=DIMMED_MONOKAI)


if __name__ == "__main__":
    main()
