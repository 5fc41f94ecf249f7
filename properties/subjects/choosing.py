"""Values that somebody chooses for arguments and settings that have no known meaning."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from typing import Any

from properties.basics.errors import QuestionError

NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
PAIR = re.compile(rf"(?:^|\s)({NAME})=(?!=)")
FORM = "names and values as in a call, separated by spaces: flavour='sweet' layers=4"


def parse(texts: Iterable[str]) -> dict[str, Any]:
    """Values by name, of texts like "a=1 b='two'"; QuestionError where one is no literal."""
    chosen: dict[str, Any] = {}
    for text in texts:
        parts = PAIR.split(text)
        if parts[0].strip() or len(parts) == 1:
            raise refused(f"{text!r} is no NAME=VALUE.")
        for name, value in zip(parts[1::2], parts[2::2], strict=True):
            read = literal(name, value.strip())
            if name in chosen and chosen[name] != read:
                raise refused(f"{name} is given {chosen[name]!r} and {read!r}.")
            chosen[name] = read
    return chosen


def literal(name: str, text: str) -> Any:
    """The value that a text writes down; QuestionError if it is none."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise refused(
            f"{name} is given {text or 'nothing'}, which is no number, string, list or the like.",
            f"; a word is a string in quotes, {name}={text!r}" if text.isidentifier() else "",
        ) from None


def refused(wrong: str, hint: str = "") -> QuestionError:
    """The error for a value that cannot be read."""
    return QuestionError(f"--with: {wrong}\nExpected: {FORM}{hint}.\nWhat to do: correct it.")


def spelled(chosen: Mapping[str, Any]) -> str:
    """The text that `parse` reads them from."""
    return " ".join(f"{name}={value!r}" for name, value in chosen.items())


def options(chosen: Mapping[str, Any]) -> tuple[str, ...]:
    """The words of the command line that give them."""
    return ("--with", spelled(chosen)) if chosen else ()
