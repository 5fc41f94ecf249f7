"""The card of a subject in words: each convention as a sentence, and how it is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.text import Text

from properties.basics import advice
from properties.reports.lines import INDENT, hanging, printable
from properties.subjects.call import ANSWERS, ROLES, axes
from properties.subjects.card import Card

LABEL = 14  # columns of a label with the space after it
WORDS = {
    "mask": {
        "attend": "boolean mask: True attends",
        "hide": "boolean mask: True hides",
        "": "boolean mask: True neither attends nor hides",
    },
    "padding": {
        "attend": "padding mask: True is a real key",
        "hide": "padding mask: True is padding",
        "counts": "padding: the number of real keys of each item, the first ones",
        "": "padding mask: True is neither a real key nor padding",
    },
    "context_mask": {
        "attend": "boolean mask of the context: True attends",
        "hide": "boolean mask of the context: True hides",
        "": "boolean mask of the context: True neither attends nor hides",
    },
    "context_padding": {
        "attend": "padding mask of the context: True is a real token",
        "hide": "padding mask of the context: True is padding",
        "counts": "padding of the context: the number of real tokens of each item, the first ones",
        "": "padding mask of the context: True is neither a real token nor padding",
    },
    "align": {
        "top left": "diagonal where T is not S: top left",
        "bottom right": "diagonal where T is not S: bottom right",
        "x alone": "diagonal beside a context: none, the future of x alone is hidden",
        "": "diagonal where T is not S: neither top left nor bottom right",
    },
    "window": {
        "others": "a window of W: W others besides oneself",
        "counting oneself": "a window of W: W keys, oneself among them",
        "": "a window of W: neither W others nor W with oneself",
    },
    "sides": {
        "one": "sides of a window: one, the past",
        "both": "sides of a window: one width for both, before and after",
        "two": "sides of a window: two, before and after",
        "": "sides of a window: not known",
    },
    "empty": {
        "zeros": "a row that sees nothing: zeros",
        "nan": "a row that sees nothing: NaN",
        "uniform": "a row that sees nothing: the mean of all values",
        "mixture": "a row that sees nothing: a mixture of all values, since a number is added to scores",
        "": "a row that sees nothing: neither zeros nor NaN nor the mean of all values",
    },
    "weights": {
        "per head": "returned weights: per head",
        "averaged": "returned weights: averaged over heads",
        "": "returned weights: neither per head nor averaged",
    },
    "lse": {
        "natural": "log-sum-exp: natural",
        "base 2": "log-sum-exp: base 2",
        "": "log-sum-exp: neither natural nor base 2",
    },
    "lse_axes": {
        "B H T": "axes of the log-sum-exp: (B, H, T)",
        "B T H": "axes of the log-sum-exp: (B, T, H)",
        "": "axes of the log-sum-exp: neither (B, H, T) nor (B, T, H)",
    },
}
"""Each convention's answers in words; "" for what fits none of the known ones."""
BRIEF = {
    "mask": {"attend": "True attends", "hide": "True hides"},
    "padding": {
        "attend": "True is a real key",
        "hide": "True is padding",
        "counts": "lengths are of keys",
    },
    "context_mask": {"attend": "True attends in the context", "hide": "True hides in the context"},
    "context_padding": {
        "attend": "True is a real token of the context",
        "hide": "True is padding of the context",
        "counts": "lengths are of the context",
    },
    "align": {
        "top left": "diagonal top left",
        "bottom right": "diagonal bottom right",
        "x alone": "nothing of a context is hidden",
    },
    "window": {"others": "a window counts others", "counting oneself": "a window counts oneself"},
    "empty": {
        "zeros": "an empty row gives zeros",
        "nan": "an empty row gives NaN",
        "uniform": "an empty row gives the mean",
        "mixture": "an empty row gives a mixture",
    },
    "weights": {"per head": "weights per head", "averaged": "weights averaged"},
    "lse": {"natural": "LSE natural", "base 2": "LSE base 2"},
    "lse_axes": {"B H T": "LSE (B, H, T)", "B T H": "LSE (B, T, H)"},
}
"""The same in as few words as can be, for the lines below a verdict."""
KNOWN_BY = {
    "trial": "found by trial",
    "docstring": "said in its docstring",
    "declared": "declared",
}


def convention(name: str, told: Mapping[str, str]) -> str:
    """One convention in words, and how it is known."""
    answer = told["answer"]
    shown = {name: f"{name}: {answer}" for name in ("cache", "rotary", "context", "head_dim")}
    shown["layout"] = f"layout: {axes(answer)}"
    said = shown[name] if name in shown else WORDS[name].get(answer, "")
    whose = told["found"].removeprefix("signature of ")
    known = KNOWN_BY.get(whose, f"as {whose} promises" if whose else "")
    return f"{said} ({known})" if known else said


def by_argument(takes: Mapping[str, str]) -> dict[str, str]:
    """What each argument means; "" holds what needs none, and comes last."""
    found: dict[str, list[str]] = {}
    for role in sorted(takes, key=lambda role: (not takes[role], list(ROLES).index(role))):
        found.setdefault(takes[role], []).append(ROLES[role])
    return {argument: "; ".join(meanings) for argument, meanings in found.items()}


def brief(takes: Mapping[str, str], conventions: Mapping[str, Mapping[str, str]]) -> str:
    """The card in a line or two: the arguments, and the conventions by which they are read."""
    named = [argument for argument in dict.fromkeys(takes.values()) if argument]
    added = takes.get("bias")
    said = [f"{added} is added to the scores"] if added and added != takes.get("mask") else []
    said += [
        BRIEF[name].get(told["answer"], f"{name} is none of {', '.join(ANSWERS[name])}")
        for name, told in conventions.items()
        if name in BRIEF
    ]
    parts = [f"asked by {', '.join(named)}" if named else "", ", ".join(said)]
    parts += [
        f"{n}: {conventions[n]['answer']}"
        for n in ("rotary", "context", "head_dim", "cache")
        if n in conventions
    ]
    return "; ".join(filter(None, parts))


def told(card: Card) -> Iterator[tuple[str, str]]:
    """Every line of a card with its label."""
    yield "family", f"{card.family}: {card.why}"
    if not card.takes:
        yield "may be told", "nothing but its input"
    for argument, meaning in by_argument(card.takes).items():
        yield "may be told", f"{argument or 'by its inputs alone'}: {meaning}"
    for name, each in card.conventions.items():
        yield "convention", convention(name, each)
    if card.dropout:
        yield "convention", f"dropout: argument {card.dropout}"
    yield "formats", ", ".join(card.dtypes)
    for words in card.limits:
        yield "cannot take", words
    for argument, why in card.unasked.items():
        yield "not asked", f"{argument}, {why}"
    for capability, reason in card.lacking.items():
        yield "lacking", f"{capability}: {advice.reason(reason)}"
    for note in card.notes:
        if not note.startswith("taken as "):  # said as the reason of the family
            yield "note", note


def card_lines(card: Card, width: int) -> Iterator[Text]:
    """The card for a terminal; a label is not repeated."""
    yield Text(printable(card.subject), "bold")
    last = ""
    for label, text in told(card):
        shown = "" if label == last else label
        last = label
        for line in hanging([(shown, text)], width - INDENT, LABEL):
            yield Text(" " * INDENT + line)
