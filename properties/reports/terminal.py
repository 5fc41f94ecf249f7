"""A report as text: the verdict first, then the findings, then a line for each area or clause.

Nothing depends on colour, and no id, number or command is ever broken over two lines: a log keeps
them whole.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from properties.basics import advice
from properties.reports import card, characters
from properties.reports.found import called, errors, lead, listed, main
from properties.reports.lesser import lesser
from properties.reports.lines import INDENT, hanging, in_parts, printable, wrapped
from properties.reports.tables import AREAS_MEAN, CLAUSES_MEAN, area_lines, clause_rows
from properties.reports.telling import FEW, explain, finding_lines
from properties.reports.verdict import verdict, word
from properties.runs.result import Finding, Report, Result
from properties.spec.clause import clauses

STYLES = {
    "pass": "green",
    "fail": "bold red",
    "error": "bold red",
    "waits": "dim",
}
SCREEN = 45  # lines; the verdict is repeated below what is longer
LABEL = 11  # of what takes a line


def show(report: Report, console: Console, *, verbose: bool = False) -> None:
    """Print the whole report; verbose: with every finding in full and a line for each clause."""
    lines = list(report_lines(report, console.width, verbose=verbose))
    for line in lines:
        console.print(line, soft_wrap=True)
    if len(lines) > SCREEN:
        console.print(closing(report), soft_wrap=True)


def report_lines(report: Report, width: int, *, verbose: bool) -> Iterator[Text]:
    """The report from the verdict down."""
    yield headline(report)
    for line in unsupported_lines(report, None if verbose else FEW):
        yield from prose(line, width)
    yield from prose(card.brief(report.takes, report.conventions), width)
    found = main(report)
    faults = [finding for finding in found if finding.kind == "fault"]
    for finding in found:
        yield Text("")
        brief = not verbose and finding is not (faults or found)[0]
        yield from told_in_full(finding, report, width, brief=brief)
    for result in errors(report):
        yield Text("")
        yield from told_as_error(result, width)
    if lesser := list(lesser_lines(report, width)):
        yield Text("")
        yield from lesser
    for words, code in ways_out(report):
        yield Text("")
        yield Text(f"to have the rest asked, {words}")
        yield from (Text((" " * INDENT + printable(line)).rstrip()) for line in code.splitlines())
    yield Text("")
    yield from table(report, width, verbose=verbose)
    yield Text("")
    for line in provenance(report, verbose=verbose):
        yield from prose(line, width)


def prose(text: str, width: int, indent: int = INDENT) -> Iterator[Text]:
    """Text that may be wrapped between words, below what it belongs to."""
    for line in wrapped(text, width, " " * indent, " " * indent):
        yield Text(line, style="dim")


def headline(report: Report) -> Text:
    """The verdict, first thing, and what was not asked."""
    words, style = verdict(report)
    return Text.assemble(
        (printable(report.subject), "bold"), f" ({report.family}) ", (words, style)
    )


def closing(report: Report) -> Text:
    """The last line, where a terminal stands when all is printed."""
    if not report.wrong:
        return headline(report)
    names = ", ".join(map(called, main(report)))
    words = f" is not right: {printable(names)}; told above"
    return Text.assemble((printable(report.subject), "bold"), (words, "bold red"))


def told_in_full(finding: Finding, report: Report, width: int, *, brief: bool) -> Iterator[Text]:
    """A finding with its case and picture."""
    title = "LIMIT" if finding.kind == "domain" else "FAIL"
    yield Text(printable(f"{title} {called(finding)}"), STYLES["fail"])
    parts = "" if brief else "numbers, picture"
    for line in finding_lines(finding, lead(finding, report), report, width - INDENT, parts):
        yield Text(" " * INDENT + line)


def told_as_error(result: Result, width: int) -> Iterator[Text]:
    """A clause that has no verdict."""
    yield Text(f"ERROR {result.clause}  {result.level}", STYLES["error"])
    said = in_parts(clauses()[result.clause].requirement, result.message)
    for line in [*hanging(said, width - INDENT), f"explain   {explain(result)}"]:
        yield Text(" " * INDENT + line)


def lesser_lines(report: Report, width: int) -> Iterator[Text]:
    """A line for each, as many as it takes."""
    for each in lesser(report):
        decides = report.strict and each.label in ("unguarded", "edge")
        first, *further = hanging([(each.label, each.text)], width, LABEL)
        yield Text.assemble((first[:LABEL], "bold red" if decides else "yellow"), first[LABEL:])
        yield from map(Text, further)


def unsupported_lines(report: Report, most: int | None = None) -> list[str]:
    """What could not be asked: a line for each meaning of arguments, then one for each reason of
    clauses.

    most: the number of clauses that are named before the rest is counted; None: all.
    """
    reasons: dict[str, list[str]] = {}
    for result in report.unsupported:
        reasons.setdefault(result.message, []).append(result.clause)
    meanings: dict[str, list[str]] = {}
    for argument, why in report.unasked.items():
        meanings.setdefault(why, []).append(argument)
    lines = [f"not asked: {', '.join(names)}, {why}" for why, names in meanings.items()]
    return lines + [f"not asked: {listed(ids, most)}; {why}" for why, ids in reasons.items()]


def ways_out(report: Report) -> list[tuple[str, str]]:
    """What to do about what the subject lacks and was not asked for that reason, and the code."""
    if not report.unsupported:
        return []
    return [found for text in report.lacking.values() if (found := advice.way_out(text))[1]]


def table(report: Report, width: int, *, verbose: bool) -> Iterator[Text]:
    """What the columns mean, then a line for each area, or for each clause."""
    yield from prose(CLAUSES_MEAN if verbose else AREAS_MEAN, width, indent=0)
    if not verbose:
        yield from map(Text, area_lines(report, width))
        return
    for result, line in clause_rows(report):
        said = word(result)
        row = Text(line)
        row.stylize(STYLES.get(said, "yellow"), 0, len(said))
        if result.level != "MUST":
            row.append(f"  {result.level}", "dim")
        yield row


def provenance(report: Report, *, verbose: bool) -> list[str]:
    """What it takes to see the same again, and how the subject was understood."""
    lines = [
        f"profile {report.profile}, seed {report.seed}, {report.seconds:.1f} s; "
        f"{', '.join(report.dtypes)}"
    ]
    if verbose:
        lines += [", ".join(f"{name} {version}" for name, version in report.versions.items())]
        lines += [chance(report), *understood(report)]
    else:
        lines.append("-v shows every clause, what was matched to what, and the versions")
    return [line for line in lines if line] + [f"note: {note}" for note in report.notes]


def understood(report: Report) -> Iterator[str]:
    """Which names were taken for which, and what the subject has not."""
    renamed = [f"{ours} is {theirs}" for ours, theirs in report.matched.items() if ours != theirs]
    if renamed:
        yield f"matched: {', '.join(renamed)}"
    absent = [f"{name} ({advice.reason(r)})" for name, r in report.lacking.items()]
    if absent:
        yield f"lacking: {', '.join(absent)}"


def chance(report: Report) -> str:
    """How often a right implementation is accused because of how its dropout happened to fall."""
    if not report.false_alarm:
        return ""
    return (
        "laws about dropout accuse a right implementation by chance with probability at most "
        f"{characters.exponential(report.false_alarm)} per run"
    )
