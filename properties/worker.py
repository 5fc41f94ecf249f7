"""The process in which a target from the command line is imported and run.

It may hang or die without taking the report along. Commands come as one JSON object a line on the
descriptor named by its first argument; answers go as JSON events, a line each, to that named by the
second. At the start of the third it notes what it does with the subject.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from properties.basics import doing, interrupts, losing
from properties.basics.ending import end_group
from properties.basics.errors import QuestionError
from properties.runs.process import GRACE, PHRASE

if TYPE_CHECKING:
    from properties.cases.case import Case
    from properties.subjects.subject import Subject

QUIET_SECONDS = 0.05  # steps closer together than this are not worth a line each
ALIVE_SECONDS = 1.0  # of work with the subject after which another sign of life is given
FORK_ADVICE = (
    "A copy of the process would go on with the check; start others by `subprocess`, or by the "
    "start method spawn of `multiprocessing`."
)


class Wire:
    """Events for the parent process."""

    def __init__(self, events: int, phrase: int) -> None:
        for descriptor in (events, phrase):
            os.set_inheritable(descriptor, False)  # nor for what the subject starts
        self.stream = os.fdopen(events, "w", encoding="utf-8", buffering=1)
        self.phrase, self.process = phrase, os.getpid()
        self.step_told: tuple[str, int, int] = ("", 0, 0)
        self.last = 0.0

    def send(self, event: str, **content: Any) -> None:
        """One event, at once."""
        self.require_original()
        self.stream.write(json.dumps({"event": event, **content}) + "\n")
        self.last = time.monotonic()

    def step(self, phase: str, done: int, total: int) -> None:
        """What is being done now. The parent must know the clause before the subject can hang."""
        if phase != self.step_told[0] or time.monotonic() - self.last > QUIET_SECONDS:
            self.step_told = (phase, done, total)
            self.send("step", phase=phase, done=done, total=total)

    def note(self, phrase: str) -> None:
        """What is done with the subject: thousands of times in a run, so not as an event."""
        self.require_original()
        os.pwrite(self.phrase, phrase.encode()[:PHRASE].ljust(PHRASE), 0)
        if time.monotonic() - self.last > ALIVE_SECONDS:
            self.step(*self.step_told)

    def lose(self, how: str, advice: str = "") -> None:
        """End the process: what it asks is not to be asked again."""
        self.send("lost", how=how, advice=advice)
        os._exit(1)

    def refuse_fork(self) -> None:
        """End the process before Python forks it."""
        self.lose("called os.fork", FORK_ADVICE)

    def require_original(self) -> None:
        """End a copy of the process that compiled code has made."""
        if os.getpid() != self.process:
            os._exit(1)


class Work:
    """What is known of the target between two commands."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.subjects: dict[str, Subject] = {}
        self.examples: dict[str, tuple[str, list[Case]]] = {}  # by subject: drawn with what

    def survey(
        self,
        target: str,
        family: str | None,
        only: list[str] | None,
        lost: dict[str, str],
        conventions: dict[str, str],
        given: list[str],
        timeout: float,
    ) -> None:
        """Find the subjects. lost: those that ended a process before, which are passed over; timeout:
        seconds that a program of its own has for an answer.
        """
        from properties.recognition.adapters import families
        from properties.recognition.targets import require_place, survey
        from properties.spec.clause import clauses, select
        from properties.subjects.choosing import parse
        from properties.subjects.declaring import require_known

        losing.wait(timeout)
        chosen = parse(given)
        families.validate(family)
        require_known(conventions)
        select(only)
        self.wire.step("importing", 0, 0)
        try:
            found = survey(
                target,
                family,
                lost,
                lambda name: self.wire.send("finding", name=name),
                conventions,
                chosen,
            )
            require_place(chosen, found.subjects)
        except QuestionError as error:
            self.wire.send("subjects", clauses={}, refused={target: str(error)})
            return
        self.subjects = {subject.name: subject for subject in found.subjects}
        asked = {
            name: [clause.id for clause in clauses().values() if clause.concerns(subject)]
            for name, subject in self.subjects.items()
        }
        refused = {name: str(error) for name, error in found.refused.items()}
        self.wire.send("subjects", clauses=asked, refused=refused)

    def describe(self, name: str) -> None:
        """The card of one of the subjects."""
        from properties.runs.domain import explore
        from properties.runs.runner import quiet_and_repeatable
        from properties.subjects.card import card

        self.wire.step("describing", 0, 0)
        with quiet_and_repeatable():
            inside, limitations = explore(self.subjects[name])
        found = card(inside, [limitation.words for limitation in limitations])
        self.wire.send("card", card=found.to_dict())

    def run(self, name: str, lost: Mapping[str, str], options: dict[str, Any]) -> None:
        """Check one of the subjects; its examples are kept for the next time."""
        from properties.runs.ahead import known
        from properties.runs.runner import run

        drawn = self.drawn(name, options)
        ahead = options.pop("ahead", ())
        # After a loss limits are not looked for again, so other cases are drawn.
        options["ahead"] = {} if lost else known(ahead)
        if options.pop("observed", False):
            options["observe"] = lambda seen: self.wire.send("observation", seen=seen)
        report = run(
            self.subjects[name], listen=self.wire.step, lost=lost, examples=drawn, **options
        )
        self.wire.send("report", report=report.to_dict())

    def drawn(self, name: str, options: Mapping[str, Any]) -> list[Case]:
        """The examples of a subject that were drawn last, if with these options; else none yet."""
        which = json.dumps([options["profile"], options["seed"], options.get("formats")])
        if name not in self.examples or self.examples[name][0] != which:
            self.examples[name] = which, []
        return self.examples[name][1]

    def ahead(self, name: str, share: int, jobs: int, options: dict[str, Any]) -> None:
        """What is asked of a subject, a part of it, for the process that has the whole run."""
        from properties.runs.ahead import look_ahead

        given = (self.subjects[name], share, jobs, options, self.drawn(name, options))
        self.wire.send("ahead", told=look_ahead(*given, self.wire.step))

    def accuracy(self, name: str, formats: list[str] | None, examples: int, seed: int) -> None:
        """Search for the largest errors of one of the subjects, in the formats that it runs in."""
        from properties.runs.accuracy import accuracy
        from properties.runs.choosing import asked_in
        from properties.runs.domain import explore
        from properties.runs.runner import quiet_and_repeatable

        with quiet_and_repeatable():
            inside = asked_in(explore(self.subjects[name])[0], formats)
            for dtype in inside.dtypes:
                found = accuracy(inside, dtype, examples, seed, self.wire.step)
                self.wire.send("found", found=found.to_dict())

    def hear(self, name: str, clause: str, counterexample: dict[str, Any]) -> None:
        """The call of one of the subjects that shows that a clause fails."""
        from properties.survey.replay import heard

        self.wire.step("replaying", 0, 0)
        with self.alone(name) as inside:
            call = heard(inside, clause, counterexample)
        self.wire.send("heard", call=call)

    def replay(self, name: str, call: dict[str, Any]) -> None:
        """What one of the subjects answers to such a call."""
        from properties.survey.replay import answered

        self.wire.step("replaying", 0, 0)
        with self.alone(name) as inside:
            answer = answered(inside, call)
        self.wire.send("replayed", answer=answer)

    @contextmanager
    def alone(self, name: str) -> Iterator[Subject]:
        """One of the subjects, a module within its limits, to be asked a single call."""
        from properties.runs.domain import explore
        from properties.runs.runner import quiet_and_repeatable

        with quiet_and_repeatable():
            subject = self.subjects[name]
            yield subject if subject.bare else explore(subject)[0]

    def compare(self, **request: Any) -> None:
        """Compare two targets."""
        from properties.compare.compare import compare
        from properties.subjects.choosing import parse

        request["given"] = parse(request["given"])
        self.wire.step("importing", 0, 0)
        try:
            found = compare(**request, listen=self.wire.step)
        except QuestionError:
            raise
        except Exception as error:  # ours: the answer is that there is none
            place = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__}: {error} at {place.filename}:{place.lineno}"
            raise QuestionError(f"the comparison itself failed: {text}") from error
        self.wire.send("comparison", comparison=found.to_dict())


def main() -> None:
    """Answer one command after the other, until the parent has no more."""
    commands, events, phrase = map(int, sys.argv[1:])
    wire = Wire(events, phrase)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    os.register_at_fork(before=wire.refuse_fork)
    doing.listen(wire.note)
    losing.listen(wire.lose)
    received: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=receive, args=(commands, received.put), daemon=True).start()
    work = Work(wire)
    while line := received.get():
        message = json.loads(line)
        with redirect_stdout(StringIO()), interrupts.watched():
            try:
                getattr(work, message.pop("command"))(**message)
            except QuestionError as error:
                wire.send("question", message=str(error))
        wire.send("done")


def receive(descriptor: int, take: Callable[[bytes], None]) -> None:
    """Take commands; once the parent is gone end this process, if need be by force."""
    os.set_inheritable(descriptor, False)
    with os.fdopen(descriptor, "rb") as stream:
        for line in stream:
            take(line)
    take(b"")
    time.sleep(GRACE)
    end_group(os.getpgrp())


if __name__ == "__main__":
    main()
