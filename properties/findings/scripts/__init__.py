"""A failure as a script of its own, which needs torch and the subject's class alone."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from properties.cases.case import Case
from properties.findings.recording import record
from properties.findings.scripts import outputs
from properties.findings.scripts.call_scripts import call_scripts
from properties.findings.scripts.construction import own
from properties.findings.scripts.recipes import recipes
from properties.findings.scripts.script import Script, construct
from properties.spec.clause import Clause
from properties.subjects.subject import Config, Subject

SECONDS = 60  # for one script: importing torch takes most of them on a busy machine
TRIES = 6  # scripts that are run in a process of their own before a failure is left without one
HEAD = '''"""{id} ({level}) does not hold for {name}.

Requires  {requirement}
Expected  {expected}
Got       {got}
Case      {case}

This file needs {needs}. Where the requirement does not hold it ends with
exit code 1 and says what was expected, else with 0. For another class, change its import.
"""'''


def reproduction(
    clause: Clause, case: Case, message: str, alive: Callable[[], None] = lambda: None
) -> str:
    """The script of a failure as a file; empty where nothing that was tried fails by itself.

    What fails here may be right in a process of its own, if the class keeps something for all of
    its instances. So it is run there, too; `alive` is called every second or so.
    """
    alive()
    found = islice(failing(clause, case), TRIES)
    written = (one.written(head(clause, case, message, one.needs)) for one in found)
    return next((text for text in written if fails_alone(text, alive)), "")


def fails_alone(text: str, alive: Callable[[], None] = lambda: None) -> bool:
    """Whether the assertion of a script is broken in a new process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "script.py")
        path.write_text(text, encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, str(path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
        )
        said = waited(process, alive)
    return process.returncode == 1 and "AssertionError" in said


def waited(process: subprocess.Popen[str], alive: Callable[[], None]) -> str:
    """What a process has said on standard error until it ended, or was ended as it took too long."""
    for _ in range(SECONDS):
        alive()
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=1.0)[1]
    process.kill()
    return process.communicate()[1]


def script(clause: Clause, case: Case) -> Script | None:
    """The shortest script that was seen to fail on the subject; None if there is none."""
    return next(failing(clause, case), None)


def failing(clause: Clause, case: Case) -> Iterator[Script]:
    """The candidates that were seen to fail on the subject."""
    return (found for found in candidates(clause, case) if found.fails())


def candidates(clause: Clause, case: Case) -> Iterator[Script]:
    """Scripts that may show what the clause's check has seen, the best first."""
    yield from call_scripts(clause, case)
    tape = record(clause, case)
    if clause.id in recipes():
        yield from recipes()[clause.id](case, tape)
    for finding in outputs.findings(clause, tape):
        yield from outputs.replays(finding, tape)
    for config in tape.refused:
        if not config.odd and 0.0 <= config.dropout <= 1.0:
            yield unbuilt(case.subject, config)


def unbuilt(subject: Subject, config: Config) -> Script:
    """Sizes that are valid, for which the constructor has raised."""
    script = Script(subject)
    script.add(
        "try:",
        *(f"    {line}" for line in construct(subject, config)),
        "except (Exception, SystemExit) as error:",
        "    raise AssertionError(f'expected a module for valid sizes, got {error!r}') from error",
    )
    return script


def head(clause: Clause, case: Case, message: str, needs: str = "torch and the class alone") -> str:
    """The docstring of the file. needs: what it needs, where that is nothing of this suite."""
    expected, _, got = message.removeprefix("expected ").partition("; got ")
    if not got:  # what was raised in place of an output
        expected, _, got = expected.partition("; ")
    filled = HEAD.format(
        id=clause.id,
        level=clause.level,
        name=case.subject.name,
        requirement=clause.requirement,
        expected=plain(expected),
        got=plain(got),
        case=sizes(case),
        needs="this adapter, and so properties" if own(case.subject) else needs,
    )
    return "\n".join(line.rstrip() for line in filled.splitlines())


def plain(text: str) -> str:
    """A line that may stand in a docstring."""
    return " ".join(text.split()).replace("\\", "/").replace('"""', "'''").rstrip('"')


def sizes(case: Case) -> str:
    """The smallest case in attention's own terms; its numbers stand in the script."""
    s = case.sizes
    return (
        f"B={s.batch} T={s.tokens} H={s.heads} D={s.head_dim} d_in={s.d_in} "
        f"context_length={s.context_length}, {case.dtype}, {'bias' if case.bias else 'no bias'}, "
        f"p = {case.dropout}, seed {case.seed}"
    )
