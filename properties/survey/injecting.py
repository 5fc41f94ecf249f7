"""Whether faults that are put around a library's attention are told, one line after the other."""

from __future__ import annotations

from dataclasses import dataclass, field

from properties.basics.errors import QuestionError
from properties.runs.isolation import Progress, Request, run_isolated
from properties.survey.asking import environment
from properties.survey.faults import FAULTS, LAWS, LINE
from properties.survey.lines import Line

TARGET = "properties.survey.injected"


@dataclass
class Told:
    """By which law each fault is told, "" where by none; reason: why
    nothing could be asked.
    """

    by: dict[str, str] = field(default_factory=dict)
    reason: str = ""

    @property
    def absent(self) -> list[str]:
        """The faults that there is no place for."""
        return [fault for fault in FAULTS if fault not in self.by] if not self.reason else []

    @property
    def untold(self) -> list[str]:
        """The faults that no law tells."""
        return [fault for fault, law in self.by.items() if not law]

    @property
    def words(self) -> str:
        """All of it in a line."""
        if self.reason:
            return f"refused: {self.reason}"
        said = [f"{fault}: {law or 'NOT TOLD'}" for fault, law in self.by.items()]
        return "; ".join([*said, *(f"{fault}: nothing to put it in" for fault in self.absent)])


def inject(line: Line, seed: int, timeout: float, progress: Progress) -> Told:
    """Ask a line with each of the faults, in one process."""
    options = {"profile": "quick", "seed": seed, "only": list(LAWS)}
    request = Request(TARGET, None, options, timeout, progress)
    try:
        with environment({**line.environment, LINE: line.name}):
            reports = run_isolated(request)
    except QuestionError as error:
        return Told(reason=str(error).splitlines()[0])
    if request.refused:
        return Told(reason="; ".join(request.refused.values()).splitlines()[0])
    found = {report.subject.rpartition(":")[2]: report for report in reports}
    return Told({name: report.failed[0] if report.wrong else "" for name, report in found.items()})
