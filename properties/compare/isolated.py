"""Compare two targets in a process of its own, and survive what they do to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from properties.basics.errors import QuestionError
from properties.compare.outcome import Comparison
from properties.runs.process import GRACE, Lost, Process

Progress = Callable[[str, int, int], None]  # what is compared, examples done, in all


def compare_isolated(
    request: dict[str, Any], timeout: float, progress: Progress = lambda phase, done, total: None
) -> Comparison:
    """What `compare` says of the request; what a side does to the process is a change, too.

    Raises QuestionError where the targets cannot be compared.
    """
    lost: dict[str, str] = {}
    while True:
        phase = ""

        def listen(now: str, done: int, total: int) -> None:
            nonlocal phase
            phase = now
            progress(now, done, total)

        try:
            return compared({**request, "lost": lost}, timeout, listen)
        except Lost as error:
            loss = error.loss
            if phase in ("", *lost) or phase.endswith("drawing"):
                sides = f"{request['old']} or {request['new']}"
                message = f"{sides} {loss}; nothing was compared. {loss.advice}"
                raise QuestionError(message.strip()) from error
            lost[phase] = f"{loss}; nothing came of it"


def compared(request: dict[str, Any], timeout: float, listen: Progress) -> Comparison:
    """The comparison from one process; raises `Lost`."""
    process, grace = Process(timeout), 0.0
    try:
        for event in process.ask("compare", **request):
            match event:
                case {"event": "step", "phase": phase, "done": done, "total": total}:
                    listen(phase, done, total)
                case {"event": "question", "message": message}:
                    raise QuestionError(message)
                case {"event": "comparison", "comparison": found}:
                    grace = GRACE
                    return Comparison.from_dict(found)
        raise RuntimeError("the process answered nothing")
    finally:
        process.close(grace)
