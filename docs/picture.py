"""Draw README's picture: `python docs/picture.py` writes docs/verdict.svg."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from properties.recognition.targets import find
from properties.reports.terminal import show
from properties.runs.runner import run

HERE = Path(__file__).parent
PICTURE = HERE / "verdict.svg"
TARGET = "docs/leaky.py:LeakyAttention"
WIDTH = 100
ELSEWHERE = re.compile(r"[\d.]+ s\b|[\d.]+%|(?<=python|.torch|.numpy|thesis) \d[^\s,]*")
"""Seconds, shares of a budget, and versions."""


def drawn() -> str:
    """The verdict on the leaky module as a terminal shows it, long lines wrapped as it does: SVG."""
    report = run(find(f"{HERE / 'leaky.py'}:LeakyAttention")[0], profile="quick")
    printed = StringIO()
    terminal = Console(file=printed, width=WIDTH, force_terminal=True, highlight=False)
    terminal.print(f"[bold]$ attention-properties check {TARGET} --profile quick")
    show(replace(report, subject=TARGET), terminal)
    picture = Console(record=True, width=WIDTH, file=StringIO())
    picture.print(Text.from_ansi(printed.getvalue()))
    return picture.export_svg(title="a verdict", theme=DIMMED_MONOKAI)


def words(svg: str) -> list[str]:
    """What a picture says, without what differs from one machine to the next."""
    text = html.unescape(" ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg)))
    return ELSEWHERE.sub("...", text.replace("\xa0", " ")).split()


if __name__ == "__main__":
    PICTURE.write_text(drawn(), encoding="utf-8")
