"""Draw README's picture: `python docs/picture.py` writes docs/verdict.svg."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from properties.report.terminal import show
from properties.runner import run
from properties.targets import find

HERE = Path(__file__).parent
TARGET = "docs/leaky.py:LeakyAttention"
AREAS = ("weights", "causality")  # what the picture has room for
WIDTH = 100


def main() -> None:
    """Check the leaky module and keep what a terminal shows, long lines wrapped as it does."""
    report = run(find(f"{HERE / 'leaky.py'}:LeakyAttention")[0], profile="quick", only=AREAS)
    printed = StringIO()
    terminal = Console(file=printed, width=WIDTH, force_terminal=True, highlight=False)
    asked = f"--only {' '.join(AREAS)} --profile quick"
    terminal.print(f"[bold]$ attention-properties check {TARGET} {asked}")
    show(replace(report, subject=TARGET), terminal)
    picture = Console(record=True, width=WIDTH, file=StringIO())
    picture.print(Text.from_ansi(printed.getvalue()))
    picture.save_svg(str(HERE / "verdict.svg"), title="a verdict", theme=DIMMED_MONOKAI)


if __name__ == "__main__":
    main()
