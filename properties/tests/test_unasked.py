"""An argument that attention gives a meaning and that keeps its default is named: right in part."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from properties.recognition.adapters.spellings import meaning
from properties.recognition.asking.roles import role
from properties.recognition.targets import find
from properties.reports.verdict import verdict
from properties.runs.runner import run
from properties.zoo.faults.plain import PlainMultiHead


class Padded(PlainMultiHead):
    """Its padding mask is wrong."""

    def forward(self, x: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
        output = super().forward(x)
        return output if key_padding_mask is None else 0.0 * output


class Biased(PlainMultiHead):
    """What is added to its scores is wrong, and nobody asks."""

    def forward(self, x: Tensor, position_bias: Tensor | None = None) -> Tensor:
        output = super().forward(x)
        return output if position_bias is None else 0.0 * output


class Remembering(PlainMultiHead):
    """A cache, a switch and something unknown."""

    def forward(
        self,
        x: Tensor,
        use_cache: bool = False,
        attn_implementation: str = "",
        verbose: bool = False,
    ) -> Tensor:
        return super().forward(x)


class Strange(PlainMultiHead):
    """One argument has a meaning, one has none, and one does nothing by its name."""

    def forward(
        self, x: Tensor, use_cache: bool = False, blend: float = 0.0, verbose: bool = False
    ) -> Tensor:
        return super().forward(x) * (1.0 - blend)


def strange(q: Tensor, k: Tensor, v: Tensor, blend: float = 0.0, verbose: bool = False) -> Tensor:
    """The same of a function."""
    return scaled_dot_product_attention(q, k, v) * (1.0 - blend)


class Windowed(PlainMultiHead):
    """Its constructor takes more than is varied."""

    def __init__(
        self,
        d_in: int,
        d_out: int,
        context_length: int,
        dropout: float,
        num_heads: int,
        qkv_bias: bool = False,
        window_size: int | None = None,
        softmax_scale: float | None = None,
        label: str = "",
    ) -> None:
        super().__init__(d_in, d_out, context_length, dropout, num_heads, qkv_bias)


class Grouped(PlainMultiHead):
    """Fewer heads of keys, if it were asked."""

    def __init__(
        self, d_in: int, d_out: int, context_length: int, num_heads: int, num_kv_heads: int
    ):
        super().__init__(d_in, d_out, context_length, 0.0, num_heads)


@pytest.mark.parametrize(
    ("target", "unasked", "note"),
    [
        (Padded, [], ""),
        (Biased, ["position_bias"], ""),
        (
            Remembering,
            ["use_cache", "attn_implementation"],
            "forward keeps its defaults for verbose",
        ),
        (Strange, ["blend", "use_cache"], "forward keeps its defaults for verbose"),
        (strange, ["blend"], ""),
        (Windowed, ["window_size", "softmax_scale"], "argument label has no known meaning"),
        (Grouped, ["num_kv_heads"], ""),
        (PlainMultiHead, [], ""),
    ],
)
def test_what_was_not_asked_is_named_first_what_nobody_knows(
    target: Any, unasked: list[str], note: str
) -> None:
    """Those of forward and of a function; those of a constructor where they have a meaning."""
    [subject] = find(target)
    assert list(subject.unasked) == unasked
    assert note in " ".join(subject.notes)


def test_a_verdict_beside_an_argument_that_was_not_asked_is_one_in_part() -> None:
    """The first line names it before it counts, and so does the report as data."""
    [subject] = find(Biased)
    report = run(subject, profile="quick", only=["shape/output-shape"])
    words, _ = verdict(report)
    assert words.startswith("right in part: nothing was asked of position_bias; ")
    assert report.in_part
    data: dict[str, Any] = report.to_dict()
    assert data["unasked"] == {"position_bias": f"{meaning('position_bias')}: it keeps its default"}


def test_a_padding_mask_that_is_wrong_is_told() -> None:
    """It is asked about, and its law fails."""
    [subject] = find(Padded)
    report = run(subject, profile="quick", only=["mask/padding-shows-what-is-real"])
    assert report.failed == ["mask/padding-shows-what-is-real"]


def test_torchs_own_module_is_right_in_part() -> None:
    """Everything that its forward takes is asked; two switches of its constructor are not."""
    [subject] = find("torch.nn:MultiheadAttention")
    assert set(subject.unasked) == {"add_bias_kv", "add_zero_attn"}


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("attention_mask", "which keys a query sees"),
        ("seq_lens", "which keys are padding"),
        ("past_key_values", "keys and values of earlier tokens"),
        ("shared_kv", "keys and values of another layer"),
        ("encoder_hidden_states", "other tokens to attend to"),
        ("output_attentions", "whether the weights are returned, too"),
        ("temperature", "what the scores are multiplied by"),
        ("freqs_cis", "positions"),
        ("attn_implementation", "which kernel computes it"),
        ("dtype", ""),
        ("verbose", ""),
        ("training", ""),
        ("name", ""),
    ],
)
def test_a_name_tells_the_meaning_of_an_argument(name: str, known: str) -> None:
    """As public code spells it."""
    assert meaning(name) == known


def without_a_cap_here(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, softcap: float | None = None
) -> Tensor:
    """Its cap is another device's."""
    if softcap is not None:
        raise ValueError("softcap is only supported on another device")
    return scaled_dot_product_attention(query, key, value, is_causal=is_causal)


def test_an_argument_that_is_not_supported_here_is_not_asked() -> None:
    """Nobody gets a wrong answer; that nothing was asked of it is said."""
    (subject,) = find(f"{__name__}:without_a_cap_here")
    assert "cap" not in subject.takes
    assert "causal" in subject.takes
    assert "softcap" in subject.unasked


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("key_padding_mask", "padding"),
        ("src_key_padding_mask", "padding"),
        ("tgt_key_padding_mask", "padding"),
        ("input_padding_mask", "padding"),
        ("x_pad_mask", "padding"),
        ("memory_key_padding_mask", "context_padding"),
        ("query_padding_mask", None),
    ],
)
def test_padding_is_known_by_the_names_of_the_field(name: str, known: str | None) -> None:
    """A mask of the padding of queries hides no key."""
    assert role(name) == known
