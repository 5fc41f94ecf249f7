"""The process in which a target from the command line is imported and run.

It may hang or die without taking the report along. It writes one JSON event a line to the
descriptor named by its first argument; the request is its second.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from properties.errors import QuestionError

QUIET_SECONDS = 0.05  # steps closer together than this are not worth a line each


class Wire:
    """Events for the parent process."""

    def __init__(self, descriptor: int) -> None:
        self.stream = os.fdopen(descriptor, "w", encoding="utf-8", buffering=1)
        self.last: tuple[float, str] = (0.0, "")

    def send(self, event: str, **content: Any) -> None:
        """One event, at once."""
        self.stream.write(json.dumps({"event": event, **content}) + "\n")

    def step(self, phase: str, done: int, total: int) -> None:
        """What is being done now. The parent must know the clause before the subject can hang."""
        now = time.monotonic()
        if phase != self.last[1] or now - self.last[0] > QUIET_SECONDS:
            self.last = (now, phase)
            self.send("step", phase=phase, done=done, total=total)


def main() -> None:
    """Find the subjects, run each, and send what was found."""
    wire = Wire(int(sys.argv[1]))
    request = json.loads(sys.argv[2])
    silence_standard_output()
    wire.step("importing", 0, 0)
    try:
        work(wire, request)
    except QuestionError as error:
        wire.send("question", message=str(error))


def work(wire: Wire, request: dict[str, Any]) -> None:
    """The request: target, family, options, and the first subject that is not reported yet."""
    from properties.runner import run
    from properties.spec import select
    from properties.targets import survey

    select(request["options"]["only"])
    with redirect_stdout(StringIO()):
        found = survey(request["target"], request["family"])
    subjects = found.subjects
    refused = {name: str(error) for name, error in found.refused.items()}
    if not subjects:
        raise QuestionError("\n\n".join(refused.values()))
    wire.send("subjects", names=[subject.name for subject in subjects], refused=refused)
    first = request["first"]
    for number, subject in enumerate(subjects[first:], start=first):
        lost = request["lost"] if number == first else {}
        try:
            report = run(subject, listen=wire.step, lost=lost, **request["options"])
        except QuestionError as error:
            wire.send("refused", name=subject.name, message=str(error))
        else:
            wire.send("report", report=report.to_dict())


def silence_standard_output() -> None:
    """What the subject's compiled code writes must not run into the report."""
    sys.stdout.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


if __name__ == "__main__":
    main()
