"""How far a command is, and about how long it still takes: on a terminal's standard error alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

Listener = Callable[[str, str, int, int], None]  # what, its phase, done of it, in all


@contextmanager
def shown(what: str, jobs: int = 1) -> Iterator[Listener]:
    """A bar for each of so many things at once, one after the other; in a pipe nothing is shown."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda what, phase, done, total: None
        return
    columns = (
        TextColumn("{task.fields[what]}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("left, {task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        one_at_a_time = Lock()
        tasks = {what: bar.add_task("starting", what=what, total=None)}

        def tell(now: str, phase: str, done: int, total: int) -> None:
            with one_at_a_time:
                task = tasks.pop(now, None)
                if task is None:
                    if len(tasks) == jobs:  # the one that was told of longest ago is done
                        bar.remove_task(tasks.pop(next(iter(tasks))))
                    task = bar.add_task(phase, what=now, total=None)
                tasks[now] = task
            bar.update(task, description=phase)
            if total:
                bar.update(task, completed=done, total=total)

        yield tell
