"""A constructor that takes one object with all settings is read, and the object is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from properties import Subject
from properties.basics.errors import QuestionError
from properties.cases.strategies import make_case, pinned_sizes
from properties.cli import main
from properties.findings.scripts import construction
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.targets import find, find_one, load
from properties.runs.runner import run
from properties.subjects import choosing
from properties.subjects.subject import Config
from properties.tests.test_needed import Heads

DATA = Path(__file__).parent / "data" / "configured.py"
SOUND = {
    "CausalSelfAttention": "multihead",
    "AnnotatedAttention": "multihead",
    "NestedAttention": "multihead",
    "DictAttention": "multihead",
    "EncoderSelfAttention": "encoder",
    "SwitchedAttention": "multihead",
    "DefaultedAttention": "multihead",
    "LackingAttention": "multihead",
    "LayeredAttention": "multihead",
    "ToldTwiceAttention": "multihead",
}
SCALE = "weights/log-odds-are-scaled-score-differences"


def named(name: str) -> Subject:
    [subject] = find(f"{DATA}:{name}")
    return subject


def arguments(subject: Subject) -> dict[str, object]:
    """What the constructor is told in an example."""
    assert isinstance(subject, ModuleSubject)
    config = Config(pinned_sizes(subject)[0], dropout=0.25)
    return subject.blueprint.arguments.values(config, subject.family)


@pytest.mark.parametrize("name", SOUND)
def test_a_class_with_settings_agrees_with_the_oracle(name: str) -> None:
    """Every coincidence of sizes is built by an object of its own."""
    subject = named(name)
    assert subject.family == SOUND[name]
    for seed, sizes in enumerate(pinned_sizes(subject)):
        case = make_case(subject, sizes, "float64", "ordinary", True, 0.5, 1, seed)
        assert case.known, subject.lacking
        np.testing.assert_allclose(case.run(), case.trace.output, rtol=1e-9, atol=1e-9)


def test_settings_have_the_meanings_of_arguments() -> None:
    """Attributes and keys are printed as they are read."""
    matched = named("CausalSelfAttention").matched
    assert matched["d_in = d_out"] == "config.n_embd"
    assert matched["context_length"] == "config.block_size"
    assert named("DictAttention").matched["num_heads"] == 'cfg["n_heads"]'
    assert named("NestedAttention").matched["num_heads"] == "config.attention.heads"


def test_what_has_a_default_in_the_code_is_told_where_it_has_a_meaning_and_else_kept() -> None:
    """`cfg.get("drop_rate", 0.1)` is dropout all the same; `flash` stays as it is, and this is said."""
    assert named("DictAttention").matched["dropout"] == 'cfg["drop_rate"]'
    assert "config.flash" in named("CausalSelfAttention").unasked
    assert "embedding_size" not in str(named("EncoderSelfAttention").matched)


def test_one_probability_for_both_dropouts_drops_weights_alone() -> None:
    """What drops the output is switched off, and no clause of dropout accuses the class."""
    subject = named("CausalSelfAttention")
    assert any(note.startswith("switched off: resid_dropout") for note in subject.notes)
    assert run(subject, profile="quick", only=["dropout/acts-on-weights-only"]).failed == []


def test_the_librarys_own_class_is_filled() -> None:
    """Its other defaults are kept, what it requires besides is filled in, and it may be frozen."""
    given = arguments(named("AnnotatedAttention"))
    shape = load(str(DATA)).Shape
    config = given["config"]
    assert type(config) is shape
    assert (config.attn_dropout, config.resid_dropout, config.hidden_dim) == (0.25, 0.0, 3072)  # type: ignore[attr-defined]
    assert given["layer_idx"] == 0
    nested = arguments(named("NestedAttention"))["config"]
    assert type(nested).__name__ == "NestedConfig"
    assert nested.attention.dropout == 0.25  # type: ignore[attr-defined]


def test_a_setting_of_either_value_is_given_one_and_this_is_said() -> None:
    """A keyword that is required and changes nothing keeps no verdict back."""
    notes = "\n".join(named("SwitchedAttention").notes)
    assert "argument mask_as_buffer has no known meaning and is given False; True" in notes
    assert 'argument cfg["verbose"] has no known meaning and is given False; True' in notes


def test_a_window_among_the_settings_is_none_where_it_may_be() -> None:
    told = named("LayeredAttention").unasked
    assert told['cfg["sliding_window"]'] == "how far back a query sees: it is None"


def test_a_setting_without_a_meaning_is_refused_with_what_is_known() -> None:
    """Everything else is filled in already."""
    with pytest.raises(QuestionError) as refused:
        named("FlavouredAttention")
    message = str(refused.value)
    assert 'FlavouredAttention reads cfg["flavour"], which has no known meaning' in message
    assert "'emb_dim': d_model, 'n_heads': num_heads" in message
    assert "'flavour': ..., " in message
    assert "say what it is by --with 'flavour=VALUE'" in message


def test_what_is_read_by_a_number_is_said_whole() -> None:
    """A number is no name that could be given."""

    class WindowAttention(Heads):
        def __init__(self, d_model: int, num_heads: int, window_size: tuple[int, int]) -> None:
            super().__init__(d_model, num_heads)
            self.table = nn.Parameter(torch.zeros(window_size[0] * window_size[1], num_heads))

    with pytest.raises(
        QuestionError, match=r"say what it is by --with 'window_size=VALUE'"
    ) as told:
        find_one(WindowAttention)
    assert "num_heads=num_heads, window_size=...)  # fill in window_size\n" in str(told.value)


def test_a_value_that_is_given_fills_what_has_no_meaning() -> None:
    """A setting here, an argument there; both are printed, and asked for again by the same words."""
    [subject] = find(f"{DATA}:FlavouredAttention", given={"flavour": 1, "n_heads": 12})
    case = make_case(subject, pinned_sizes(subject)[1], "float64", "ordinary", True, 0.5, 1, 0)
    np.testing.assert_allclose(case.run(), case.trace.output, rtol=1e-9, atol=1e-9)
    assert 'cfg["flavour"] is given 1, as asked for' in subject.notes
    assert any(note.startswith('cfg["n_heads"] is num_heads, which') for note in subject.notes)
    assert subject.options == ("--with", "flavour=1 n_heads=12")
    [switched] = find(f"{DATA}:SwitchedAttention", given={"mask_as_buffer": True})
    assert "mask_as_buffer is given True, as asked for" in switched.notes
    other = find_one(f"{DATA}:FlavouredAttention", given={"flavour": 2})
    case = make_case(other, pinned_sizes(other)[1], "float64", "ordinary", True, 0.5, 1, 0)
    assert abs(case.run() - case.trace.output).max() > 1e-3


def test_a_default_in_the_code_gives_way_to_a_value_that_is_given() -> None:
    """Which kernel computes it may be chosen."""
    [subject] = find(f"{DATA}:CausalSelfAttention", given={"config.flash": False})
    case = make_case(subject, pinned_sizes(subject)[1], "float64", "ordinary", True, 0.5, 1, 0)
    assert not case.build().module.fast
    assert "config.flash" not in subject.unasked


def test_a_name_that_nothing_has_is_refused_with_those_that_are_there() -> None:
    """A slip would otherwise change nothing, silently."""
    with pytest.raises(QuestionError) as refused:
        find(f"{DATA}:DictAttention", given={"n_head": 4})
    message = str(refused.value)
    assert "DictAttention has no n_head, which is given a value (did you mean n_heads?)" in message
    assert "What to do: correct or leave out n_head" in message


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("n_head=4 attn_pdrop=0.1", {"n_head": 4, "attn_pdrop": 0.1}),
        (
            "a.b='two words' c=(1, 2) d=None e=-1e-3",
            {"a.b": "two words", "c": (1, 2), "d": None, "e": -1e-3},
        ),
        ("a={'b': [True]}", {"a": {"b": [True]}}),
    ],
)
def test_values_are_read_as_in_a_call(text: str, found: dict[str, object]) -> None:
    """And spelled so that they are read again."""
    assert choosing.parse([text]) == found
    assert choosing.parse([choosing.spelled(found)]) == found


@pytest.mark.parametrize(
    ("texts", "part"),
    [
        (["rms"], "'rms' is no NAME=VALUE"),
        (["4=n_head"], "is no NAME=VALUE"),
        (["norm=rms"], "a word is a string in quotes, norm='rms'"),
        (["norm="], "norm is given nothing"),
        (["p=open('x')"], "p is given open('x'), which is no number"),
        (["p=1", "p=2"], "p is given 1 and 2"),
    ],
)
def test_a_value_that_is_no_literal_is_refused_in_one_message(texts: list[str], part: str) -> None:
    """With the form that is expected."""
    with pytest.raises(QuestionError) as refused:
        choosing.parse(texts)
    assert part in str(refused.value)
    assert "names and values as in a call" in str(refused.value)


def test_the_command_line_gives_values(capsys: pytest.CaptureFixture[str]) -> None:
    """What the refusal advises, as it is printed."""
    assert main(["describe", f"{DATA}:FlavouredAttention", "--with", "flavour=1"]) == 0
    assert 'cfg["flavour"] is given 1' in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", ["UnscaledAttention", "UnscaledDictAttention"])
def test_a_wrong_class_with_settings_is_told(name: str) -> None:
    """By the name that it would have without them."""
    assert run(named(name), profile="quick", only=[SCALE]).failed == [SCALE]


def test_a_script_needs_no_class_of_settings() -> None:
    """What is read of them is all that it holds."""
    config = Config(pinned_sizes(named("NestedAttention"))[0])
    assert construction.expression(named("NestedAttention"), config) == (
        "Attention(config=SimpleNamespace(attention=SimpleNamespace(heads=3, dropout=0.0), dim=12, "
        "context_length=11))"
    )
    assert "Attention(cfg={'emb_dim': " in construction.expression(named("DictAttention"), config)


class WindowedAttention(nn.Module):
    """Reads a place in a list of its settings."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.proj = nn.Linear(config.hidden_size, config.windows[0])

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


def test_a_place_in_a_list_of_settings_has_no_meaning_and_is_refused() -> None:
    """In one message, with advice."""
    with pytest.raises(QuestionError, match=r"reads config\.windows"):
        find(WindowedAttention)
