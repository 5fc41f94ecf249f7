"""The command `verify`: whether a conformance statement still says what is."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from properties.basics.errors import QuestionError
from properties.commands import arguments


def register(commands: Any) -> None:
    """Add the command and its arguments."""
    command = commands.add_parser(
        "verify", help="run a conformance statement again and say what differs"
    )
    command.add_argument("statement", metavar="FILE", type=Path, help="what --statement wrote")
    arguments.add_timeout(command)
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """0 all is as stated, 1 something differs."""
    from properties.basics.version import SPEC
    from properties.reports import statement

    stated = statement.read(options.statement)
    different = []
    if stated["spec"] != SPEC:
        different.append(f"version of the spec: stated {stated['spec']}, now {SPEC}")
    for claim in stated["claims"]:
        found = statement.claim(again(claim, options.timeout))
        different += [f"{claim['subject']}: {line}" for line in statement.differences(claim, found)]
    for line in different:
        print(line)
    subjects = ", ".join(claim["subject"] for claim in stated["claims"])
    print(f"{options.statement}: {'different' if different else 'same'} ({subjects})")
    return 1 if different else 0


def again(claim: Mapping[str, Any], timeout: float) -> Any:
    """The report on a claim's subject, asked as it was then."""
    from properties.reports import statement
    from properties.runs import waivers
    from properties.runs.isolation import Request, run_isolated

    with TemporaryDirectory() as folder:
        file = Path(folder) / "waivers.toml"
        entries = [waivers.parse(entry, "a waiver of the statement") for entry in claim["waivers"]]
        try:
            waivers.append(file, entries)
        except (
            AttributeError,
            TypeError,
            ValueError,
        ) as error:  # what TOML has no word for, as null
            raise QuestionError(f"a waiver of the statement is damaged: {error}") from error
        request = Request(
            target=claim["subject"],
            family=claim["family"],
            options={
                "profile": claim["profile"],
                "seed": claim["seed"],
                "only": claim["only"] or None,
                "waivers": str(file) if entries else None,
                "strict": claim["strict"],
            },
            timeout=timeout,
            conventions=statement.declared(claim),
            given=claim.get("given", []),
        )
        reports = run_isolated(request)
    if request.refused or len(reports) != 1:
        reasons = "; ".join(request.refused.values()) or f"it is {len(reports)} subjects now"
        raise QuestionError(f"{claim['subject']} cannot be asked again: {reasons}")
    return reports[0]
