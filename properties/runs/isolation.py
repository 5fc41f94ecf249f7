"""A target asked in a process of its own, which is started again whenever the subject ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any

from properties.basics.errors import QuestionError
from properties.runs.memory import Entry, Memory
from properties.runs.process import GRACE, Loss, Lost, Process
from properties.runs.result import Report
from properties.subjects.card import Card

if TYPE_CHECKING:
    from properties.runs.accuracy import Accuracy

Progress = Callable[[str, str, int, int], None]  # subject, phase or clause, cases done, in all
PATIENCE = 3  # lost processes after which a subject's remaining clauses are not asked any more


@dataclass
class Isolated:
    """A target behind the wall of a process.

    timeout: seconds without a sign of life after which the process is ended; only: ids and areas
    that will be asked; conventions: those that are declared; given: texts of values for what has no
    known meaning; clauses: those that concern each
    subject, by its name; refused: why a subject cannot be asked, by name.
    """

    target: str
    family: str | None = None
    timeout: float = 60.0
    only: list[str] | None = None
    progress: Progress = lambda subject, phase, done, total: None
    conventions: dict[str, str] = field(default_factory=dict)
    given: list[str] = field(default_factory=list)
    observe: Callable[[dict[str, Any]], None] = lambda seen: None
    clauses: dict[str, list[str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    lost: dict[str, dict[str, str]] = field(default_factory=dict)  # by subject and phase: how
    process: Process | None = None
    stopped: bool = False
    losses: int = 0  # processes that were lost so far
    subject: str = ""  # what is being found or checked
    phase: str = ""

    def __enter__(self) -> Isolated:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close(GRACE if error is None else 0.0)

    def close(self, grace: float = GRACE) -> None:
        """End the process, if there is one."""
        if self.process is not None:
            process, self.process = self.process, None
            process.close(grace)

    def stop(self) -> None:
        """End whatever is being asked; the thread that asks it is told by KeyboardInterrupt."""
        self.stopped = True
        if self.process is not None:
            self.process.end()

    def survey(self) -> None:
        """Find the subjects; QuestionError where family, clauses or conventions are none."""
        lost: dict[str, str] = {}
        while True:
            self.subject = ""
            options = {
                "family": self.family,
                "only": self.only,
                "lost": lost,
                "conventions": self.conventions,
                "given": self.given,
                "timeout": self.timeout,
            }
            try:
                for event in self.ask("survey", target=self.target, **options):
                    self.clauses, self.refused = event["clauses"], event["refused"]
                return
            except Lost as error:
                name = self.subject or self.target
                message = sentence(name, error.loss, "nothing was checked")
                if not self.subject or name in lost:
                    self.clauses, self.refused = {}, {**lost, name: message}
                    return
                lost[name] = message

    def run(self, name: str, options: dict[str, Any]) -> Report:
        """The report on one of the subjects; QuestionError where it cannot be asked."""
        lost = self.lost.setdefault(name, {})
        while True:
            give_up(lost, options)
            if self.process is None:
                self.survey()
            if name not in self.clauses:
                raise QuestionError(
                    self.refused.get(name) or self.refused.get(self.target) or f"{name} is gone"
                )
            self.subject, self.phase = name, ""
            try:
                (found,) = self.ask("run", name=name, lost=lost, options=options)
                return Report.from_dict(found["report"])
            except Lost as error:
                if "/" not in self.phase or self.phase in lost:
                    raise QuestionError(sentence(name, error.loss, "no verdict")) from error
                lost[self.phase] = (
                    f"{error.loss}; the process was ended. {error.loss.advice}".strip()
                )
                give_up(lost, options)

    def describe(self, name: str) -> Card:
        """The card of one of the subjects; QuestionError where the process is lost on the way."""
        (found,) = self.answers("describe", name, "no card")
        return Card(**found["card"])

    def ahead(self, name: str, share: int, jobs: int, options: dict[str, Any]) -> list[Any]:
        """A part of what a run will ask; nothing where the process is lost, which the run tells of."""
        part = {"share": share, "jobs": jobs, "options": options}
        try:
            (found,) = self.answers("ahead", name, "nothing is known", **part)
        except QuestionError:
            return []
        told: list[Any] = found["told"]
        return told

    def accuracy(
        self, name: str, formats: list[str] | None, examples: int, seed: int
    ) -> list[Accuracy]:
        """The largest errors found of one of the subjects; QuestionError where there are none."""
        from properties.runs.accuracy import Accuracy

        options = {"formats": formats, "examples": examples, "seed": seed}
        events = self.answers("accuracy", name, "nothing was found", **options)
        return [Accuracy.from_dict(event["found"]) for event in events]

    def answers(
        self, command: str, name: str, outcome: str, **arguments: Any
    ) -> list[dict[str, Any]]:
        """The answers to a command about one of the subjects. QuestionError where the process is lost on
        the way; outcome: what has come of it then.
        """
        if self.process is None:
            self.survey()
        self.subject = name
        try:
            return list(self.ask(command, name=name, **arguments))
        except Lost as error:
            raise QuestionError(sentence(name, error.loss, outcome)) from error

    def ask(self, command: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """The answer to a command, without the signs of life on the way."""
        if self.process is None:
            self.process = Process(self.timeout)
        if self.stopped:
            raise KeyboardInterrupt
        question = ""
        try:
            for event in self.process.ask(command, **arguments):
                match event:
                    case {"event": "step", "phase": phase, "done": done, "total": total}:
                        self.phase = phase
                        self.progress(self.subject or self.target, phase, done, total)
                    case {"event": "finding", "name": name}:
                        self.subject = name
                    case {"event": "observation", "seen": seen}:
                        self.observe(seen)
                    case {"event": "question", "message": message}:
                        question = message
                    case _:
                        yield event
        except Lost:
            self.losses += 1
            self.close(0.0)
            raise
        if question:
            raise QuestionError(question)


def sentence(name: str, loss: Loss, outcome: str) -> str:
    """What became of a subject, for people."""
    return f"{name} {loss}; {outcome}. {loss.advice}".strip()


def give_up(lost: dict[str, str], options: dict[str, Any]) -> None:
    """After some losses the clauses that remain are not asked any more."""
    from properties.runs.choosing import asked
    from properties.spec.clause import clauses

    if sum(phase in clauses() for phase in lost) >= PATIENCE:
        for clause in asked(options["profile"], options["only"]):
            lost.setdefault(clause.id, f"not asked: the process was lost {PATIENCE} times before")


@dataclass
class Request:
    """What is asked of every subject of a target, and what has come of it so far.

    jobs: how many of them are asked at once, each in a process of its own, or, of a single one, how many
    processes share the work; memory: of failures;
    observe: is handed what became of each clause on each case, where that is wanted.
    """

    target: str
    family: str | None
    options: dict[str, Any]
    timeout: float
    progress: Progress = lambda subject, phase, done, total: None
    arrived: Callable[[Report], None] = lambda report: None
    conventions: dict[str, str] = field(default_factory=dict)
    given: list[str] = field(default_factory=list)
    jobs: int = 1
    memory: Memory = field(default_factory=Memory)
    observe: Callable[[dict[str, Any]], None] | None = None
    names: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)  # by name: why it cannot be asked
    reports: list[Report] = field(default_factory=list)

    def isolated(self) -> Isolated:
        """The target, in a process that asks one subject at a time."""
        only = self.options["only"]
        return Isolated(
            self.target,
            self.family,
            self.timeout,
            only,
            self.progress,
            self.conventions,
            self.given,
            self.observe or (lambda seen: None),
        )


def run_isolated(request: Request) -> list[Report]:
    """The reports on the subjects of the target; `request.refused` says of the others why not.

    They arrive in the order of the subjects. Raises `QuestionError` for options that no subject can
    be asked with.
    """
    with ExitStack() as stack:
        first = stack.enter_context(request.isolated())
        first.survey()
        request.names, request.refused = list(first.clauses), dict(first.refused)
        single = len(request.names) == 1 and not request.options.get("fail_fast")
        further = (request.jobs if single else min(request.jobs, len(request.names))) - 1
        every = [first, *(stack.enter_context(request.isolated()) for _ in range(further))]
        pool = stack.enter_context(ThreadPoolExecutor(len(every)))
        try:
            if single and further > 0 and request.observe is None:
                look_ahead(request, every, pool)
            ask_all(request, every[:1] if single else every, pool)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for isolated in every:
                isolated.stop()
            raise
    return request.reports


def look_ahead(request: Request, every: list[Isolated], pool: ThreadPoolExecutor) -> None:
    """Have a single subject asked by all, each a part, before one of them goes through the whole run."""
    (name,) = request.names
    options = {known: request.options[known] for known in ("profile", "seed", "only")}
    parts = [
        pool.submit(isolated.ahead, name, share, len(every), options)
        for share, isolated in enumerate(every)
    ]
    told = [each for part in parts for each in part.result()]
    request.options = {**request.options, "ahead": told}


def asked_with(
    isolated: Isolated, name: str, options: dict[str, Any], remembered: list[Entry]
) -> Report:
    """The report on a subject that is handed what is remembered of it."""
    return isolated.run(name, {**options, "remembered": remembered})


def ask_all(request: Request, every: list[Isolated], pool: ThreadPoolExecutor) -> None:
    """Each subject by whoever is free."""
    free: SimpleQueue[Isolated] = SimpleQueue()
    for isolated in every:
        free.put(isolated)

    def ask(name: str) -> Report:
        isolated = free.get()
        try:
            options = {**request.options, "observed": request.observe is not None}
            return request.memory.ask(name, partial(asked_with, isolated, name, options))
        finally:
            free.put(isolated)

    for name, answer in [(name, pool.submit(ask, name)) for name in request.names]:
        try:
            report = answer.result()
        except QuestionError as error:
            request.refused[name] = str(error)
        else:
            request.reports.append(report)
            request.arrived(report)
