"""An argument that tells how many tokens of each item are real is asked about as padding is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from properties.recognition.asking.roles import counts, role
from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.subjects.subject import Subject
from properties.tests.data import lengths as made
from properties.tests.test_call_scripts import raised
from properties.tests.test_further_scripts import found

LAWS = ["mask", "cross", "paths", "memory"]
REAL = "mask/padding-shows-what-is-real"
OF_CONTEXT = "cross/padding-of-the-context-is-hidden"


def named(subject: Subject, law: str) -> list[str]:
    """The names of what breaks the law."""
    report = run(subject, profile="quick", only=[law])
    assert report.failed == [law]
    return [one.name for one in report.findings if one.name]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("valid_lens", "padding"),
        ("valid_len", "padding"),
        ("lengths", "padding"),
        ("kv_lens", "padding"),
        ("key_value_seq_lengths", "padding"),
        ("src_lengths", "padding"),
        ("memory_lengths", "context_padding"),
        ("encoder_valid_lens", "context_padding"),
    ],
)
def test_lengths_are_known_by_their_names(name: str, known: str) -> None:
    assert counts(name)
    assert role(name) == known


@pytest.mark.parametrize(
    "name", ["seq_len", "max_length", "max_seq_lens", "cu_seqlens", "key_mask"]
)
def test_one_length_for_all_items_is_none_of_them(name: str) -> None:
    """Nor is the longest of several, or where documents start."""
    assert not counts(name)


@pytest.mark.parametrize(
    "target",
    [
        made.Reading,
        made.Decoder,
        made.Listener,
        made.attention,
        made.attention_by_the_last_place,
    ],
    ids=lambda t: t.__name__,
)
def test_right_attention_that_is_told_lengths_is_right(target: Callable[..., Any]) -> None:
    """Of its own tokens, of a context, of keys; nothing is left unasked."""
    asked = find_one(target)
    assert asked.unasked == {}
    assert "counts" in {asked.conventions.padding, asked.conventions.context_padding}
    report = run(asked, profile="quick", only=LAWS)
    assert [(r.clause, r.message) for r in report.results if r.status != "pass"] == []


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (made.OfTheLastTokens, "lengths"),
        (made.ListenerToldOfItself, "x_lens"),
        (made.attention_of_one_length, "valid_len"),
        (made.attention_of_real_queries, "seq_lens"),
    ],
)
def test_lengths_of_something_else_are_told_as_not_asked(
    target: Callable[..., Any], name: str
) -> None:
    """Of the last tokens, of x beside a context, of all items at once, of queries: nobody is accused."""
    asked = find_one(target)
    assert name in asked.unasked
    assert not {"padding", "context_padding"} & asked.takes.keys()
    assert run(asked, profile="quick", only=["oracle", "memory", "cross"]).failed == []


@pytest.mark.parametrize("target", [made.Encoder, made.MaskedEncoder, made.KeepsPadding])
def test_what_is_given_for_padding_itself_is_left_to_each_module(target: type[nn.Module]) -> None:
    """Zeros, say: which keys its other queries see is asked all the same."""
    asked = find_one(target)
    assert "padding" in asked.takes
    assert any("what it gives is not asked" in note for note in asked.notes)
    report = run(asked, profile="quick", only=LAWS)
    assert [(r.clause, r.message) for r in report.results if r.status == "fail"] == []


@pytest.mark.parametrize(
    ("target", "law", "name"),
    [
        (made.TiledOverHeads, REAL, "padding of another item"),
        (made.OneTooMany, REAL, "a key more is seen than the lengths say"),
        (made.LastIsLost, REAL, "a key less is seen than the lengths say"),
        (made.OfTheFirstItem, REAL, "mask of the first item for all"),
        (made.DecoderIgnoringLengths, REAL, "padding ignored"),
        (made.EncoderIgnoringLengths, REAL, "padding ignored"),
        (made.MaskedEncoderOfTheFirstItem, REAL, "mask of the first item for all"),
        (made.attention_to_padding, REAL, "True is padding"),
        (made.ListenerOfOtherItems, OF_CONTEXT, "padding of another item"),
    ],
)
def test_wrong_lengths_are_told_by_name(target: Callable[..., Any], law: str, name: str) -> None:
    assert any(one.startswith(name) for one in named(find_one(target), law))


@pytest.mark.parametrize(
    ("wrong", "law", "right"),
    [
        (made.OneTooMany, REAL, made.Reading),
        (made.ListenerOfOtherItems, OF_CONTEXT, made.Listener),
        (made.attention_to_padding, REAL, made.attention),
    ],
)
def test_the_script_of_lengths_runs(
    wrong: Callable[..., Any], law: str, right: Callable[..., Any]
) -> None:
    """It fails on the wrong one alone."""
    told = found(wrong, law)
    assert raised(told, wrong)
    assert not raised(told, right)
