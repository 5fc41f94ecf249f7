"""The options of `check` about what was drawn: --observe and --stats."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from properties.reports.drawn import Drawn

Observe = Callable[[dict[str, Any]], None]


def add(command: argparse.ArgumentParser) -> None:
    """Add the options."""
    command.add_argument(
        "--observe",
        type=Path,
        metavar="FILE",
        help="write a line of JSON for each clause and case, in Hypothesis's observability format",
    )
    command.add_argument(
        "--stats", action="store_true", help="print what sizes, kinds and margins were drawn"
    )


@contextmanager
def observed(options: argparse.Namespace, console: Console) -> Iterator[Observe | None]:
    """What takes the observations, None where nobody wants any; --stats are printed at the end."""
    from properties.reports.drawn import count

    if not (options.observe or options.stats):
        yield None
        return
    drawn: dict[str, Drawn] = {}
    with ExitStack() as files:
        path: Path | None = options.observe
        lines = files.enter_context(path.open("w", encoding="utf-8")) if path else None
        one_at_a_time = Lock()

        def observe(seen: dict[str, Any]) -> None:
            with one_at_a_time:
                if lines:
                    lines.write(json.dumps(seen) + "\n")
                count(drawn, seen)

        yield observe
    if options.stats:
        for subject, counted in drawn.items():
            console.rule(subject)
            for line in counted.lines():
                console.print(line, markup=False, soft_wrap=True)
