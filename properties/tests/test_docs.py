"""Every command, file and snippet in the documents does what the document says.

A block is read by its language. `python file=NAME` is a file of the reader's; any other `python`
is run as a script where those files are. Of a `console` block each line after `$ ` is run,
and what follows must be among the lines printed, in this order; `...` stands for lines left out.
In `sh`, which installs or names code that the reader has and we have not, our own commands must have
the options that they are given. `toml` must parse.
"""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from properties.cli import parser

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OURS = "attention-properties "


@dataclass(frozen=True)
class Block:
    """One fenced block of a document."""

    language: str
    file: str
    text: str


def blocks(document: Path) -> list[Block]:
    """The fenced blocks in their order."""
    return [Block(*match) for match in FENCE.findall(document.read_text(encoding="utf-8"))]


def named(document: Path) -> str:
    """A document's path in the repository."""
    return str(document.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_a_document_does_what_it_shows(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are written, its snippets run and its commands print what it says."""
    monkeypatch.chdir(tmp_path)
    for block in blocks(document):
        if block.file:
            Path(block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            Path("snippet.py").write_text(block.text, encoding="utf-8")
            assert printed("python snippet.py")[-1] == "exit code 0", block.text
        elif block.language == "console":
            for command, expected in commands(block.text):
                assert missing(expected, printed(command)) is None, command
        elif block.language == "toml":
            tomllib.loads(block.text)


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_commands_that_are_only_named_have_their_options(document: Path) -> None:
    """What a reader is to type with names of his own is accepted by our parser."""
    for block in blocks(document):
        if block.language == "sh":
            for line in re.split(r"\n|&&", block.text):
                command = line.partition("#")[0].strip()
                if command.startswith(OURS):
                    parser().parse_args(shlex.split(command)[1:])


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_links_lead_to_files_that_are_there(document: Path) -> None:
    """Every link that is no address names a file of the repository."""
    for target in re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert document.parent.joinpath(target).exists(), target


def test_the_picture_shows_what_is_printed() -> None:
    """If it does not, `python docs/picture.py` draws it anew."""
    picture = runpy.run_path(str(ROOT / "docs/picture.py"))
    shown = picture["words"](picture["PICTURE"].read_text(encoding="utf-8"))
    assert shown == picture["words"](picture["drawn"]())
    assert shown[:6] == ["a", "verdict", "$", "attention-properties", "check", picture["TARGET"]]


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a console block, and the lines shown below it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, *shown = part.rstrip("\n").split("\n")
        yield command, shown


def printed(command: str) -> list[str]:
    """The lines that a command prints, its exit code last, in a terminal of 100 columns."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "COLUMNS": "100", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, env=environment, timeout=300
    )
    lines = (done.stdout + done.stderr).splitlines()
    return [*map(str.rstrip, lines), f"exit code {done.returncode}"]


def missing(expected: list[str], actual: list[str]) -> str | None:
    """The first line that was shown and is not printed where it should be, with what was printed."""
    remaining = iter(actual)
    skipping = False
    for line in map(str.rstrip, expected):
        if line.strip() == "...":
            skipping = True
            continue
        found = line in remaining if skipping else next(remaining, None) == line
        if not found:
            return f"{line!r} is not printed; printed was:\n" + "\n".join(actual)
        skipping = False
    return None


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        (["a", "b"], True),
        (["a", "...", "c"], True),
        (["...", "c"], True),
        (["a", "c"], False),
        (["...", "d"], False),
        (["...", "b", "a"], False),
    ],
)
def test_lines_that_are_shown_are_looked_for_in_their_order(shown: list[str], found: bool) -> None:
    """A document that shows what is not printed is noticed."""
    assert (missing(shown, ["a", "b", "c"]) is None) is found
