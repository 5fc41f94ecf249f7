"""A constructor may be handed its layers by the caller, and a forward its keys and values beside x, as
torchtune's are: it is given linear layers, and x itself.

Legend: B items, T tokens, H heads, G of keys and values, D head_dim, E = H * D.
"""

from __future__ import annotations

from inspect import Parameter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from properties.basics.errors import QuestionError
from properties.findings.scripts.construction import ALIAS, expression, prelude
from properties.recognition.adapters.handed_layers import layer_role
from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.subjects.subject import Config
from properties.truth.parameters import Sizes

LAWS = ["mask", "causality", "groups", "heads", "oracle", "projection"]


class OfLayers(nn.Module):
    """Queries of x, keys and values of y; the future is hidden unless a mask says what is seen."""

    def __init__(
        self,
        *,
        embed_dim: int,
        num_heads: int,
        num_kv_heads: int,
        q_proj: nn.Module,
        k_proj: nn.Module,
        v_proj: nn.Module,
        output_proj: nn.Module,
        is_causal: bool = True,
    ) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads, self.is_causal = num_heads, num_kv_heads, is_causal
        self.head_dim = embed_dim // num_heads
        self.q_proj, self.k_proj, self.v_proj = q_proj, k_proj, v_proj
        self.output_proj = output_proj

    def forward(self, x: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        """(B, T, E), (B, T, E), (B, T, T) of which True attends -> (B, T, E)."""
        if y is None:
            raise ValueError("y is needed where nothing is kept")
        q = self.q_proj(x).unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)
        k, v = (
            self.repeated(layer(y).unflatten(-1, (self.num_kv_heads, -1)).transpose(1, 2))
            for layer in (self.k_proj, self.v_proj)
        )
        seen = None if mask is None else mask[:, None]
        causal = self.is_causal and mask is None
        context = scaled_dot_product_attention(q, k, v, seen, is_causal=causal)
        output: Tensor = self.output_proj(context.transpose(1, 2).flatten(2))
        return output

    def repeated(self, part: Tensor) -> Tensor:
        """(B, G, T, D) -> (B, H, T, D)."""
        return part.repeat_interleave(self.num_heads // self.num_kv_heads, dim=1)


class Tiled(OfLayers):
    """Wrong: head h reads key head h modulo G."""

    def repeated(self, part: Tensor) -> Tensor:
        return part.repeat(1, self.num_heads // self.num_kv_heads, 1, 1)


class MaskOfTheFirstItem(OfLayers):
    """Wrong: every item has the mask of the first."""

    def forward(self, x: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        return super().forward(x, y, mask=None if mask is None else mask[:1])


class Block(OfLayers):
    """More than attention: x is added to what comes."""

    def forward(self, x: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        return x + super().forward(x, y, mask=mask)


class OneLayer(nn.Module):
    """One layer for queries, keys and values, without a type, and a name for the output's that says it."""

    def __init__(self, d_model, n_heads, qkv_proj, out_proj):  # type: ignore[no-untyped-def]
        super().__init__()
        self.n_heads, self.qkv_proj, self.out_proj = n_heads, qkv_proj, out_proj

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, E) -> (B, T, E)."""
        parts = self.qkv_proj(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        output: Tensor = self.out_proj(
            scaled_dot_product_attention(*parts, is_causal=True).transpose(1, 2).flatten(2)
        )
        return output


def broken(target: type[nn.Module], *laws: str) -> list[str]:
    """The laws that it breaks, of these or of `LAWS`."""
    return run(find_one(target), profile="quick", only=list(laws or LAWS)).failed


def test_layers_are_handed_over_with_and_without_biases() -> None:
    """The future is hidden, unless a mask says otherwise."""
    asked = find_one(OfLayers)
    assert {"qkv-bias", "groups", "out-bias"} <= asked.capabilities
    assert asked.takes["mask"] == "mask"
    assert asked.unasked == {"y": "other tokens to attend to: it is always the input"}
    assert "argument q_proj is taken for the layer for queries" in asked.notes
    assert broken(OfLayers) == []


def test_one_layer_for_queries_keys_and_values_is_handed_over() -> None:
    assert "qkv-bias" in find_one(OneLayer).capabilities
    assert broken(OneLayer) == []


@pytest.mark.parametrize(
    ("target", "law"),
    [
        (Tiled, "groups/each-head-reads-its-own-group"),
        (MaskOfTheFirstItem, "mask/shows-what-it-shows"),
    ],
)
def test_what_is_wrong_with_handed_layers_is_told(target: type[nn.Module], law: str) -> None:
    assert broken(target, law) == [law]


def test_a_block_of_two_inputs_that_hides_the_future_is_no_attention_of_them() -> None:
    with pytest.raises(QuestionError, match="more than attention of x to y"):
        find_one(Block)


def test_a_script_hands_the_layers_over() -> None:
    """The call is Python that makes the module."""
    asked = find_one(OfLayers)
    sizes = Sizes(1, 2, d_in=8, heads=4, head_dim=2, context_length=2, groups=2)
    config = Config(sizes, bias=True)
    names = {ALIAS: OfLayers, "torch": torch}
    made = "\n".join(["from __future__ import annotations", *prelude(asked)])
    exec(f"{made}\nmodule = {expression(asked, config)}", names)
    module: Any = names["module"]
    assert module.k_proj.weight.shape == (4, 8)
    assert module.q_proj.bias is not None
    assert module(torch.ones(1, 2, 8)).shape == (1, 2, 8)


@pytest.mark.parametrize(
    ("name", "annotation", "role"),
    [
        ("v_proj", nn.Module, "the layer for values"),
        ("w_o", nn.Linear, "the output's layer"),
        ("to_qkv", "nn.Module", "the layer for queries, keys and values"),
        ("out_proj", Parameter.empty, "the output's layer"),
        ("out_proj", bool, None),
        ("query", Parameter.empty, None),
        ("norm", nn.Module, None),
    ],
)
def test_a_layer_is_one_by_its_type_or_its_name(
    name: str, annotation: Any, role: str | None
) -> None:
    """A switch stays a switch, and a name that says no layer has to have its type."""
    parameter = Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation)
    assert layer_role(parameter) == role
