"""Every piece of advice that a refusal prints runs, on a class of the kind that it is printed for."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from properties.basics.errors import QuestionError
from properties.recognition.adapters import messages
from properties.recognition.files import load_file
from properties.recognition.targets import find
from properties.runs.runner import run
from properties.zoo.faults.plain import PlainMultiHead
from properties.zoo.rights.common import SplitHeads, attend, require

MADE = ("make", "Mine", "MyAttention", "f")
ASKED = ["shape/output-shape", "oracle/output-within-bound", "heads/split-equals-per-head-matmul"]


class Settings:
    """What the class below is configured by."""

    def __init__(
        self, d_in: int, d_out: int, num_heads: int, flavour: str, context_length: int = 64
    ) -> None:
        self.d_in, self.d_out, self.flavour = d_in, d_out, flavour
        self.num_heads, self.context_length = num_heads, context_length


class Configured(SplitHeads):
    """Takes one object."""

    def __init__(self, settings: Settings) -> None:
        s = settings
        require(s.flavour == "sweet", f"{s.flavour!r} is no flavour")
        super().__init__(s.d_in, s.d_out, s.context_length, 0.0, s.num_heads)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return attend(queries, keys, values, self.dropout)


class Labelled(Configured):
    """One width, and an argument that nobody knows."""

    def __init__(self, d_model: int, n_heads: int, flavour: str) -> None:
        super().__init__(Settings(d_model, d_model, n_heads, flavour))


class Twice(Configured):
    """Two arguments for one role."""

    def __init__(self, d_in: int, d_out: int, num_heads: int, n_head: int) -> None:
        super().__init__(Settings(d_in, d_out, num_heads, "sweet"))


class Unnamed(Configured):
    """Layers whose names say nothing, and one more, which is for something else."""

    def __init__(self, d_in: int, d_out: int, num_heads: int) -> None:
        super().__init__(Settings(d_in, d_out, num_heads, "sweet"))
        self.fc1, self.fc2, self.fc3 = self.W_query, self.W_key, self.W_value
        self.fc4, self.fc5 = self.out_proj, nn.Linear(d_out, 1)
        del self.W_query, self.W_key, self.W_value, self.out_proj

    def forward(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:2], self.num_heads, self.head_dim)
        parts = (layer(x).view(shape).transpose(1, 2) for layer in (self.fc1, self.fc2, self.fc3))
        context: Tensor = attend(*parts, self.dropout)
        return self.fc4(context.transpose(1, 2).reshape(*x.shape[:2], self.d_out))


class Crossed(PlainMultiHead):
    """Wants keys and queries, and makes values of one of them; nobody knows of which."""

    def __init__(self, d_in: int, d_out: int, context_length: int, num_heads: int) -> None:
        super().__init__(d_in, d_out, context_length, 0.0, num_heads)

    def forward(self, key: Tensor, query: Tensor) -> Tensor:  # type: ignore[override]
        assert query is key
        return super().forward(query)


class MaskedUnnamed(Unnamed):
    """Hides what it is told to; by its name the future, or what the mask says."""

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        shape = (*x.shape[:2], self.num_heads, self.head_dim)
        q, k, v = (layer(x).view(shape).transpose(1, 2) for layer in (self.fc1, self.fc2, self.fc3))
        scores = q @ k.mT / self.head_dim**0.5
        if attn_mask is not None:
            scores = scores.masked_fill(self.hidden(attn_mask), -torch.inf)
        context = scores.softmax(-1) @ v
        return self.fc4(context.transpose(1, 2).reshape(*x.shape[:2], self.d_out))

    def hidden(self, mask: Tensor) -> Tensor:
        """True where a key is hidden."""
        return mask


class CausalMasked(MaskedUnnamed):
    """By its name the future is hidden."""


class CausalShown(MaskedUnnamed):
    """The same, by a mask that is true for what is seen."""

    def hidden(self, mask: Tensor) -> Tensor:
        return mask == 0


class Placed(Unnamed):
    """Wants to be told where its tokens stand, and does not say so."""

    def forward(self, x: Tensor, *positions: Tensor) -> Tensor:
        (places,) = positions
        return super().forward(x + 0 * places[:, None])


class WithoutArguments(Placed):
    """And its constructor takes nothing."""

    def __init__(self) -> None:
        super().__init__(8, 8, 2)


class TwoWidths(Labelled):
    """Both widths are None by default, and may not be."""

    def __init__(
        self, flavour: str, n_heads: int = 1, q_dim: int | None = None, kv_dim: int | None = None
    ) -> None:
        assert q_dim is not None
        assert q_dim == kv_dim
        super().__init__(q_dim, n_heads, flavour)


def arrays(q: Any, k: Any, v: Any) -> Any:
    """Of arrays, and it gives none: lists of numbers, as nobody's library does."""
    if isinstance(q, Tensor):
        raise TypeError("no array")
    scores = np.einsum("bhqd,bhkd->bhqk", q, k) / q.shape[-1] ** 0.5
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True) @ v).tolist()


def array_of_x(x: Any) -> Any:
    """The same, of x alone."""
    if isinstance(x, Tensor):
        raise TypeError("no array")
    scores = x @ x.swapaxes(-1, -2)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True) @ x).tolist()


LAYERS = {"QUERY": "fc1", "KEY": "fc2", "VALUE": "fc3", "OUT": "fc4"}
OWN = {"QUERY": "W_query", "KEY": "W_key", "VALUE": "W_value", "OUT": "out_proj"}
SWEET = {"flavour=...": "flavour='sweet'"}


def advice(target: Callable[..., Any]) -> list[str]:
    """The pieces of code in what is printed for a target, the examples of a message apart."""
    try:
        [found] = find(target)
    except QuestionError as refused:
        message = str(refused)
    else:
        message = found.lacking["projections"]
    code = message.partition("What to do: ")[2].partition("\n")[2]
    return [part for part in textwrap.dedent(code).split("# or an adapter:") if part.strip()]


def outcome(code: str, target: Callable[..., Any], filled: dict[str, str]) -> Callable[..., Any]:
    """What the code defines, once its blanks are filled in."""
    for blank, text in filled.items():
        code = code.replace(blank, text)
    assert "..." not in code
    names: dict[str, Any] = {"Settings": Settings, target.__name__: target}
    exec(compile(code, "<advice>", "exec"), names)
    made = [value for name, value in names.items() if name in MADE]
    assert len(made) == 1
    return made[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("target", "piece", "filled"),
    [
        (Configured, 0, SWEET),
        (Configured, 1, SWEET | OWN),
        (Labelled, 0, SWEET),
        (Labelled, 1, SWEET | OWN),
        (Twice, 0, {}),
        (Twice, 1, OWN),
        (Unnamed, 0, LAYERS),
        (Crossed, 0, {}),
        (Placed, 0, {"self.inner(...)": "self.inner(x, torch.arange(x.shape[1]))"}),
        (TwoWidths, 0, SWEET),
        (TwoWidths, 1, SWEET | OWN),
        (arrays, 0, {}),
        (array_of_x, 0, {}),
    ],
)
def test_advice_runs_and_what_comes_of_it_is_right(
    target: Callable[..., Any], piece: int, filled: dict[str, str]
) -> None:
    """As printed, but for the blanks that it says are to be filled in."""
    made = outcome(advice(target)[piece], target, filled)
    [subject] = find(made)
    report = run(subject, profile="quick", only=ASKED)
    assert [(r.clause, r.message) for r in report.results if r.status == "fail"] == []
    assert report.right


def test_a_class_that_is_made_without_arguments_is_made_so_in_advice() -> None:
    """No blank stands for what there is not."""
    code = textwrap.dedent(messages.shell("WithoutArguments", WithoutArguments, "x"))
    assert "def __init__(self):" in code
    assert "WithoutArguments()" in code
    outcome(code, WithoutArguments, {})()


@pytest.mark.parametrize(("target", "meant"), [(CausalMasked, "hidden"), (CausalShown, "shown")])
def test_a_module_that_passes_a_mask_runs_as_printed(target: type[nn.Module], meant: str) -> None:
    """The future is hidden then, as the family asks, whatever true means in the mask."""
    with pytest.raises(QuestionError, match=f"here true for what is {meant}") as refused:
        find(target)
    code = textwrap.dedent(str(refused.value).partition("What to do: ")[2].partition("\n")[2])
    [subject] = find(outcome(code, target, {}))
    report = run(subject, profile="quick", only=["causality/future-does-not-change-past"])
    assert report.failed == []


def test_masked_may_say_that_a_mask_is_handed_in() -> None:
    """Called with x alone it shows everything, as an encoder does; this is said."""
    [subject] = find(MaskedUnnamed)
    assert subject.family == "encoder"
    assert any("though it is called MaskedUnnamed" in note for note in subject.notes)


class CausalByItsMask(nn.Module):
    """It hides the future where a mask (B, T, T) is handed over."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(d_in, d_out), nn.Linear(d_in, d_out)
        self.value = nn.Linear(d_in, d_out)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        scores = self.query(x) @ self.key(x).mT / self.query.out_features**0.5
        scores = scores if mask is None else self.masked(scores, mask)
        return scores.softmax(-1) @ self.value(x)

    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        batch, tokens, _ = mask.shape
        return scores.masked_fill(~mask.reshape(batch, tokens, -1), -torch.inf)


class CausalByNumbers(CausalByItsMask):
    """It adds the mask."""

    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        return scores + mask.float().to(scores.dtype)


class CausalByOnes(CausalByItsMask):
    """As in the annotated transformer, with 0 for what is hidden."""

    def masked(self, scores: Tensor, mask: Tensor) -> Tensor:
        return scores.masked_fill(mask.int() == 0, -1e30)


class CausalOfThree(nn.Module):
    """Queries, keys and values, and the second of two masks hides the future."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(embed_dim, num_heads, batch_first=True)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        attn_mask: Tensor | None = None,
    ) -> Tensor:
        masks = {"key_padding_mask": key_padding_mask, "attn_mask": attn_mask}
        output: Tensor = self.inner(query, key, value, need_weights=False, **masks)[0]
        return output


@pytest.mark.parametrize("target", [CausalByItsMask, CausalByNumbers, CausalByOnes, CausalOfThree])
def test_a_mask_that_is_advised_hides_the_future(target: Callable[..., Any]) -> None:
    """Whatever its shape and its polarity: it was tried."""
    (code,) = advice(target)
    [subject] = find(outcome(code, target, {}))
    assert run(subject, profile="quick", only=["causality/future-does-not-change-past"]).right


@pytest.mark.parametrize("target", [Configured, Labelled, Twice, Unnamed, Crossed])
def test_a_blank_is_named_where_it_stands(target: Callable[..., Any]) -> None:
    """Nobody has to guess what three dots stand for."""
    for code in advice(target):
        for line in code.splitlines():
            blanks = re.findall(r"(\w+)=\.\.\.", line)
            assert all(blank in line.partition("# fill in")[2] for blank in blanks)


REFUSED = load_file(Path(__file__).parent / "data" / "refused.py")
THREE = {"QUERY": "W_query", "KEY": "W_key", "VALUE": "W_value", ', "out": module.OUT': ""}


@pytest.mark.parametrize(
    ("name", "filled"),
    [
        ("AmbiguousAttention", THREE),
        ("ThreeWidthsAttention", THREE | {"d_model=...": "d_model=4"}),
        ("ConfigAttention", THREE | {"expansion=...": "expansion=1"}),
        ("CrossAttention", {"x, x, ...": "x, x, 0"}),
        ("CausalByMaskAttention", {}),
        ("TwoQueriesAttention", THREE),
        ("kernel_with_a_plan", {"plan=...": "plan=None"}),
        ("an_attention", {}),
    ],
)
def test_what_a_refusal_prints_is_not_refused_again(name: str, filled: dict[str, str]) -> None:
    """Each piece, with its blanks filled in."""
    with pytest.raises(QuestionError) as refused:
        find(getattr(REFUSED, name))
    code = textwrap.dedent(str(refused.value).partition("What to do: ")[2].partition("\n")[2])
    pieces = [piece for piece in code.split("# or an adapter:") if piece.strip()]
    assert pieces
    for piece in pieces:
        for blank, text in filled.items():
            piece = piece.replace(blank, text)
        names = dict(vars(REFUSED))
        before = set(names)
        exec(compile(piece, "<advice>", "exec"), names)
        [made] = [names[n] for n in names.keys() - before if n in MADE]
        assert len(find(made)) == 1


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("GlobalWidthAttention", "GlobalWidthAttention(head_size, d_in)"),
        ("FixedMaskAttention", "FixedMaskAttention(d_in, d_out, context_length)"),
        ("FixedHeadsAttention", "FixedHeadsAttention(d_in, d_out, num_heads)"),
        ("WideHeadsAttention", "WideHeadsAttention(d_model, num_heads, head_dim)"),
    ],
)
def test_an_argument_that_has_no_place_is_asked_of_the_constructor(name: str, taken: str) -> None:
    """A factory cannot hand it over, so none is printed."""
    with pytest.raises(QuestionError) as refused:
        find(getattr(REFUSED, name))
    assert str(refused.value).endswith(f"What to do: let its constructor take it: {taken}")


def test_what_is_no_module_is_told_so_with_a_factory() -> None:
    """A number has no signature to read."""
    with pytest.raises(QuestionError, match="fill in its arguments"):
        find(12)
