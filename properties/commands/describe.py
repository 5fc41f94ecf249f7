"""The command `describe`: what a target is taken for, what a call may be told, its conventions."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console

from properties.basics.errors import CANNOT_ASK, QuestionError
from properties.commands import arguments, progress

if TYPE_CHECKING:
    from properties.subjects.card import Card

SCHEMA = "attention-properties/card/1"


def register(commands: Any) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "describe", help="what an implementation is taken for, and its conventions"
    )
    arguments.add_targets(command)
    arguments.add_conventions(command)
    arguments.add_given(command)
    command.add_argument("--json", action="store_true", help="print the cards as JSON")
    arguments.add_timeout(command)
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """A card of every subject of the targets; 2 where one of them cannot be asked."""
    from properties.reports import card

    cards: list[Card] = []
    refused: dict[str, str] = {}
    console = Console(highlight=False, soft_wrap=False)
    options.targets = arguments.named(options)
    with progress.shown(options.targets[0]) as tell:
        for target in options.targets:
            read(target, options, tell, cards, refused)
    if options.json:
        document = {"schema": SCHEMA, "cards": [c.to_dict() for c in cards], "refused": refused}
        print(json.dumps(document, indent=2))
    for number, each in enumerate(() if options.json else cards):
        if number:
            console.print()
        for line in card.card_lines(each, console.width):
            console.print(line, soft_wrap=True)
    for reason in refused.values():
        print(f"attention-properties: {reason}", file=sys.stderr)
    return CANNOT_ASK if refused or not cards else 0


def read(
    target: str,
    options: argparse.Namespace,
    tell: progress.Listener,
    cards: list[Card],
    refused: dict[str, str],
) -> None:
    """Add the cards of one target, from a process of its own, and why others have none."""
    from properties.runs.isolation import Isolated
    from properties.subjects.declaring import parse

    with Isolated(
        target,
        options.family,
        options.timeout,
        progress=tell,
        conventions=parse(options.convention),
        given=options.given,
    ) as isolated:
        isolated.survey()
        refused |= isolated.refused
        for name in list(isolated.clauses):
            try:
                cards.append(isolated.describe(name))
            except QuestionError as error:
                refused[name] = str(error)
