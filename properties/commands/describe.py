"""The command `describe`: what a target is taken for, what a call may be told, its conventions."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console

from properties.basics.errors import CANNOT_ASK
from properties.commands import arguments, progress

if TYPE_CHECKING:
    from properties.runs.isolation import Isolated
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

    def read(isolated: Isolated, name: str) -> None:
        cards.append(isolated.describe(name))

    console = Console(highlight=False, soft_wrap=False)
    options.targets = arguments.named(options)
    with progress.shown(options.targets[0]) as tell:
        for target in options.targets:
            arguments.ask_each(target, options, tell, refused, read)
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
