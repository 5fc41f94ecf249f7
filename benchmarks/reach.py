"""How much of a library can be asked as it is: `python benchmarks/reach.py transformers --check 60`.

Looks in the files of an installed package for every class whose name has Attention in it and whose base
is torch.nn.Module, and tries to understand it without an adapter. Of those that it could, --check many,
drawn at random, are asked every clause at quick. Prints how many could be asked, by family, the first
lines of the refusals with how often each came, and for each class asked what it is not right in.
Values of --with are handed to all.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from properties.basics.errors import QuestionError
from properties.commands.arguments import count
from properties.recognition.targets import found_in
from properties.runs.runner import run
from properties.subjects.choosing import parse
from properties.subjects.subject import Subject

CLASS = re.compile(r"^class (\w*Attention\w*)\((torch\.)?nn\.Module\)", re.MULTILINE)


def classes(package: str) -> Iterator[str]:
    """The classes of a package as MODULE:NAME, in the order of its files."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise QuestionError(f"{package} is not installed")
    root = Path(spec.origin).parent
    for file in sorted(root.rglob("*.py")):
        parts = [
            part for part in file.relative_to(root).with_suffix("").parts if part != "__init__"
        ]
        module = ".".join([package, *parts])
        for found in CLASS.finditer(file.read_text(encoding="utf-8")):
            yield f"{module}:{found[1]}"


def understood(target: str, given: dict[str, Any]) -> Subject | str:
    """The subject, or the first line of why there is none."""
    try:
        return found_in(target, None, None, given)[0]
    except QuestionError as refused:
        first = str(refused).splitlines()[0]
        return first.replace(target.partition(":")[2], "it")[:100]


def asked(subject: Subject) -> list[str]:
    """What a subject is not right in, at quick."""
    report = run(subject, profile="quick")
    decisive = [f for f in report.findings if f.kind in ("fault", "domain")]
    return [f.name or f.clauses[0] for f in decisive]


def main(arguments: list[str]) -> None:
    """Print what could be asked, and what came of it."""
    options = parsed(arguments)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    targets, given = list(classes(options.package)), parse(options.given)
    found = {target: understood(target, given) for target in targets}
    subjects = {t: one for t, one in found.items() if isinstance(one, Subject)}
    refused = Counter(one for one in found.values() if isinstance(one, str))
    families = Counter(subject.family for subject in subjects.values())
    print(
        f"{len(targets)} classes, {len(subjects)} can be asked without an adapter:", dict(families)
    )
    for reason, times in refused.most_common():
        print(f"{times:4} {reason}")
    chosen = random.Random(options.seed).sample(sorted(subjects), min(options.check, len(subjects)))
    right = 0
    for target in chosen:
        wrong = asked(subjects[target])
        right += not wrong
        print(f"{target}: {'; '.join(wrong) or 'right'}", flush=True)
    print(f"{len(chosen)} asked, {right} right")


def parsed(arguments: list[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description="how much of a library can be asked as it is")
    parser.add_argument("package", help="an installed package, or a part of one")
    parser.add_argument("--check", type=count, default=1, metavar="N", help="how many are asked")
    parser.add_argument("--seed", type=int, default=0, help="which these are")
    parser.add_argument("--with", dest="given", action="append", default=[], metavar="NAME=VALUE")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except QuestionError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
