"""torch.nn.MultiheadAttention: one matrix for three roles, batch first, everything else handed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from properties.basics.dtypes import FORMATS, Array
from properties.basics.errors import QuestionError
from properties.recognition.adapters import calls, families, torch_module, trials
from properties.recognition.asking import module_trials
from properties.recognition.asking.modules import ModuleManner
from properties.recognition.asking.on_itself import OnItself
from properties.subjects.call import Answer, Arguments, Conventions, Handing, Inputs
from properties.subjects.instance import seed_generators
from properties.subjects.subject import Config, Subject
from properties.truth.parameters import Sizes, Weights

SERVES = ("torch.nn.modules.activation.MultiheadAttention",)
TRIAL = Config(Sizes(batch=3, tokens=5, d_in=8, heads=2, head_dim=4, context_length=7), bias=True)


MASKS = {"mask": "attn_mask", "bias": "attn_mask", "padding": "key_padding_mask"}
TAKES = {
    **MASKS,
    "padding_numbers": "key_padding_mask",
    "causal": "is_causal",
    "lengths": "",
    "context": "key",
    "context_values": "value",
    **{f"context_{name}": argument for name, argument in MASKS.items()},
    "weights": "need_weights",
    "averaged": "average_attn_weights",
}
PROMISED = "signature of torch's MultiheadAttention"
MANNER = ModuleManner(
    TAKES,
    dict.fromkeys(("mask", "context_mask"), "B*H T T"),
    conventions=Conventions(
        mask="hide",
        padding="hide",
        context_mask="hide",
        context_padding="hide",
        align="top left",
        weights="per head",
    ),
    hinted=True,
    recording=True,
)


class CausalMultihead(nn.Module):
    """The module called on x alone, as causal self-attention, or told what it is told by its own names."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        """Wrap a module built with batch_first=True."""
        super().__init__()
        self.attention, self.heads = attention, attention.num_heads

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, W) to (B, T, W)."""
        tokens = x.shape[-2]
        future = torch.ones(tokens, tokens, dtype=torch.bool, device=x.device).triu(1)
        context, _ = self.attention(x, x, x, attn_mask=future, need_weights=False)
        result: Tensor = context
        return result

    def told(self, x: Tensor, **options: Any) -> Any:
        """What the module returns for queries of x. Keys are made of x where they are not among what it is
        told, and values of what keys are made of.
        """
        key = options.pop("key", x)
        return self.attention(x, key, options.pop("value", key), **options)


class TorchMultihead(Subject):
    """Weights go into in_proj_weight, whose rows are those of queries, keys and values in turn.

    The bias argument rules the biases of all four projections, so it is always True here.
    """

    name = "torch.nn.MultiheadAttention"
    family = "multihead"
    capabilities = frozenset(
        {
            "projections",
            "out-projection",
            "out-bias",
            "always-biased",
            "dropout",
            "batched",
            "module",
            "context-width",
        }
    )
    matched = {  # noqa: RUF012 - read only
        "d_in = d_out": "embed_dim",
        "num_heads": "num_heads",
        "dropout": "dropout",
        "query, key, value": "in_proj_weight (rows in thirds)",
        "query_bias, key_bias, value_bias": "in_proj_bias (in thirds)",
        "out": "out_proj.weight (transposed)",
        "out_bias": "out_proj.bias",
    }
    lacking = {  # noqa: RUF012 - read only
        "qkv-bias": "bias also rules the bias of the output projection, so it is always True here",
        "context-length": "the mask is made for each call, of any size",
        "rectangular": "embed_dim is d_in and d_out",
    }
    unasked = calls.unasked(("add_bias_kv", "add_zero_attn"))
    takes = TAKES
    conventions = MANNER.conventions
    origins = {  # noqa: RUF012 - read only
        **dict.fromkeys(("mask", "padding", "context_mask", "context_padding"), PROMISED),
        **dict.fromkeys(("align", "empty", "weights"), "trial"),
    }
    modes = True
    notes: tuple[str, ...] = (
        "called on x alone with the boolean causal attn_mask, need_weights=False and batch_first=True",
        "other calls are made with gradients recorded, since for some without them it has a faster "
        "path, which paths/ holds against this one; is_causal goes with the attn_mask that it is "
        "a hint of",
    )

    def __init__(self) -> None:
        """Find out in which formats it runs, and what it gives where nothing is seen."""
        sizes = TRIAL.sizes
        x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
        self.dtypes, remarks = trials.usable_dtypes(
            lambda name: self.build(replace(TRIAL, dtype=name), None), x, tuple(FORMATS)
        )
        self.notes = (*type(self).notes, *remarks)
        trial = module_trials.Trial(lambda *of: asked(self.build(*of)), sizes)
        empty = trial.empty(self.manner)
        self.conventions = replace(self.conventions, empty=empty)

    def build(self, config: Config, weights: Weights | None) -> CausalMultihead:
        """A module of the config's dtype; weights None leaves the initial parameters."""
        with torch.random.fork_rng(devices=[]):
            seed_generators(config.seed)
            attention = nn.MultiheadAttention(
                config.width,
                config.sizes.heads,
                dropout=config.dropout,
                bias=True,
                batch_first=True,
                kdim=config.sizes.d_context or None,
                vdim=config.sizes.d_context or None,
            )
        module = CausalMultihead(attention.to(getattr(torch, config.dtype)))
        if weights is not None:
            load(attention, weights)
        return module

    def ask(
        self, module: CausalMultihead, inputs: Inputs, arguments: Arguments, dtype: str
    ) -> Answer:
        """The answer of the module itself."""
        return self.manner.ask(asked(module), inputs, arguments, dtype)

    def ask_in(
        self,
        module: CausalMultihead,
        inputs: Inputs,
        arguments: Arguments,
        dtype: str,
        handing: Handing,
    ) -> Answer:
        """The same in training, or by the faster path of eval."""
        return self.manner.ask(asked(module), inputs, arguments, dtype, handing)

    def module_gradient(
        self,
        module: CausalMultihead,
        inputs: Inputs,
        arguments: Arguments,
        upstream: Array,
        dtype: str,
    ) -> Array:
        """By x, of such a call."""
        return self.context_gradients(module, inputs, arguments, upstream, dtype)["x"]

    def context_gradients(
        self,
        module: CausalMultihead,
        inputs: Inputs,
        arguments: Arguments,
        upstream: Array,
        dtype: str,
    ) -> dict[str, Array]:
        """By x and the other tokens, where there are some."""
        return self.manner.gradients(asked(module), inputs, arguments, upstream, dtype)

    @property
    def manner(self) -> ModuleManner:
        """How it is called by the conventions that it is held to."""
        return replace(MANNER, conventions=self.conventions)

    def collect(self, named: Mapping[str, Array], config: Config) -> Weights:
        """Arrays by the names of the module's parameters, in our layout."""
        query, key, value = np.split(named["attention.in_proj_weight"], 3)
        query_bias, key_bias, value_bias = np.split(named["attention.in_proj_bias"], 3)
        return Weights(
            query=query.T,
            key=key.T,
            value=value.T,
            query_bias=query_bias,
            key_bias=key_bias,
            value_bias=value_bias,
            out=named["attention.out_proj.weight"].T,
            out_bias=named["attention.out_proj.bias"],
        )


def asked(module: CausalMultihead) -> OnItself:
    """The module as it is told things."""
    return OnItself(module.attention, heads=module.attention.num_heads)


def load(attention: nn.MultiheadAttention, weights: Weights) -> None:
    """Copy all weights; absent biases become zero, an absent output projection the identity."""
    width = weights.query.shape[1]
    zero = np.zeros(width)
    matrices = [weights.query.T, weights.key.T, weights.value.T]
    biases = [weights.query_bias, weights.key_bias, weights.value_bias]
    pairs: list[tuple[Any, Any]] = [
        *(
            zip(separate(attention), matrices, strict=True)
            if attention.in_proj_weight is None
            else [(attention.in_proj_weight, np.concatenate(matrices))]
        ),
        (attention.in_proj_bias, np.concatenate([zero if b is None else b for b in biases])),
        (attention.out_proj.weight, np.eye(width) if weights.out is None else weights.out.T),
        (attention.out_proj.bias, zero if weights.out_bias is None else weights.out_bias),
    ]
    with torch.no_grad():
        for parameter, values in pairs:
            parameter.copy_(torch.tensor(values))


def separate(attention: nn.MultiheadAttention) -> list[Any]:
    """The matrices of a module whose keys are made of tokens of another width."""
    return [getattr(attention, f"{letter}_proj_weight") for letter in "qkv"]


def subject(target: object, family: str | None = None) -> Subject:
    """The subject, as an encoder like a subclass of the module; QuestionError for any other family."""
    families.validate(family)
    if family == "encoder":
        return torch_module.subject(nn.MultiheadAttention, family)
    if family not in (None, "multihead"):
        raise QuestionError(
            f"torch.nn.MultiheadAttention belongs to the family multihead, not {family}.\n"
            "Expected: no --family, --family multihead, or encoder."
        )
    return TorchMultihead()
