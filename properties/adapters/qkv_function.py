"""Functions: f(query, key, value) with projections, split and merge put around it, and f(x) alone.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from properties.adapters import calls, families, messages, trials
from properties.adapters.spellings import INPUT, LETTER, argument_role, parameter_role
from properties.dtypes import FORMATS, Array
from properties.instance import seed_generators
from properties.subject import (
    CAUSAL_FAMILIES,
    HEADED_FAMILIES,
    Config,
    Sizes,
    Subject,
    Weights,
)

SIZES = Sizes(batch=3, tokens=5, d_in=6, heads=2, head_dim=4, context_length=7)
OURS = "the projections, the split, the merge and the output projection around it are this suite's"


@dataclass(frozen=True)
class Function:
    """A function of queries, keys and values (B, H, T, D), and its arguments for the rest."""

    call: Callable[..., Any]
    name: str
    causal: str = ""
    dropout: str = ""


class Shell(nn.Module):
    """What a function of queries, keys and values needs to be an attention module.

    With family multihead there is an output projection; with self, nothing is hidden.
    """

    def __init__(self, function: Function, config: Config, family: str) -> None:
        """Draw the projections; ValueError if the heads do not divide the width."""
        super().__init__()
        sizes = config.sizes
        self.function, self.family, self.num_heads = function, family, sizes.heads
        if config.width % sizes.heads:
            raise ValueError(f"width {config.width} is not divisible by {sizes.heads} heads")
        self.W_query = nn.Linear(sizes.d_in, config.width, bias=config.bias)
        self.W_key = nn.Linear(sizes.d_in, config.width, bias=config.bias)
        self.W_value = nn.Linear(sizes.d_in, config.width, bias=config.bias)
        projected = family == "multihead"
        self.out_proj = nn.Linear(config.width, config.width) if projected else nn.Identity()
        self.dropout = config.dropout

    def forward(self, x: Tensor) -> Any:
        """Map (B, T, d_in) to (B, T, W); what is no (B, H, T, D) is returned as it is."""
        layers = (self.W_query, self.W_key, self.W_value)
        query, key, value = (self.split(layer(x)) for layer in layers)
        options: dict[str, object] = {}
        if self.function.causal:
            options[self.function.causal] = self.family in CAUSAL_FAMILIES
        if self.function.dropout:
            options[self.function.dropout] = self.dropout if self.training else 0.0
        context = self.function.call(query, key, value, **options)
        if not isinstance(context, Tensor) or context.ndim != 4:
            return context
        return self.out_proj(context.transpose(1, 2).flatten(2))  # (B, H, T, D) -> (B, T, W)

    def split(self, x: Tensor) -> Tensor:
        """(B, T, W) -> (B, H, T, D)."""
        batch, tokens, width = x.shape
        return x.reshape(batch, tokens, self.num_heads, width // self.num_heads).transpose(1, 2)


class FunctionSubject(Subject):
    """A function of queries, keys and values inside a `Shell`."""

    def __init__(self, function: Function, family: str) -> None:
        """Say what the shell offers in this family, and try out the formats."""
        self.function, self.family, self.name = function, family, function.name
        offered = {"projections", "qkv-bias", "rectangular", "batched", "module", "function"}
        if family == "multihead":
            offered |= {"out-projection", "out-bias"}
        if function.dropout:
            offered.add("dropout")
        self.capabilities = frozenset(offered)
        self.matched = {
            role: name
            for role, name in (("causal", function.causal), ("dropout", function.dropout))
            if name
        }
        self.lacking = {"context-length": "a function takes any number of tokens"}
        if not function.dropout:
            self.lacking |= {"dropout": "no argument is called dropout_p / dropout or the like"}
        x = trials.random_input(SIZES.batch, SIZES.tokens, SIZES.d_in)
        self.dtypes, remarks = trials.usable_dtypes(
            lambda name: self.build(replace(trial_config(family), dtype=name), None),
            x,
            tuple(FORMATS),
        )
        self.notes = (OURS, *remarks)

    def build(self, config: Config, weights: Weights | None) -> Shell:
        """A shell of the config's dtype; weights None leaves the initial parameters."""
        with torch.random.fork_rng(devices=[]):
            seed_generators(config.seed)
            shell = Shell(self.function, config, self.family).to(getattr(torch, config.dtype))
        if weights is not None:
            load(shell, weights)
        return shell

    def collect(self, named: Mapping[str, Array], config: Config) -> Weights:
        """Arrays by the names of the shell's parameters, in our layout."""
        query, key, value = (named[f"W_{role}.weight"].T for role in LETTER)
        query_bias, key_bias, value_bias = (named.get(f"W_{role}.bias") for role in LETTER)
        out = named.get("out_proj.weight")
        return Weights(
            query=query,
            key=key,
            value=value,
            query_bias=query_bias,
            key_bias=key_bias,
            value_bias=value_bias,
            out=None if out is None else out.T,
            out_bias=named.get("out_proj.bias"),
        )


def load(shell: Shell, weights: Weights) -> None:
    """Copy all weights into the shell's own layers."""
    with torch.no_grad():
        for role in LETTER:
            layer, bias = getattr(shell, f"W_{role}"), getattr(weights, f"{role}_bias")
            copy(layer, getattr(weights, role), bias)
        if isinstance(shell.out_proj, nn.Linear):
            out = np.eye(shell.out_proj.in_features) if weights.out is None else weights.out
            copy(shell.out_proj, out, weights.out_bias)


def copy(layer: nn.Linear, matrix: Any, bias: Any) -> None:
    """Copy a matrix (in, out) and a bias (out,), or zeros."""
    layer.weight.copy_(torch.tensor(matrix.T))
    if layer.bias is not None:
        layer.bias.copy_(torch.zeros_like(layer.bias) if bias is None else torch.tensor(bias))


def trial_config(family: str) -> Config:
    """A request for a trial in this family."""
    heads = SIZES.heads if family in HEADED_FAMILIES else 1
    return Config(replace(SIZES, heads=heads))


def subject(function: Function, family: str | None) -> Subject:
    """The subject; the family is multihead, or self if the function cannot hide the future.

    Raises QuestionError for the family plain.
    """
    families.validate(family)
    if family == "plain":
        raise messages.refusal(
            f"{function.name} takes queries, keys and values; the family plain takes x alone.",
            "--family multihead, wrapper, causal or self",
            "leave --family out, or name a function of x",
        )
    return FunctionSubject(function, family or found_family(function))


def found_family(function: Function) -> str:
    """Multihead, unless nothing tells the function to hide the future and it does not do so."""
    if function.causal:
        return "multihead"
    shell = Shell(function, trial_config("multihead"), "multihead")
    x = trials.random_input(SIZES.batch, SIZES.tokens, SIZES.d_in)
    return "self" if trials.sees_future(shell, x) == "all" else "multihead"


def serves(target: Callable[..., Any]) -> bool:
    """Whether the leading parameters of a function are queries, keys and values."""
    call = calls.signature(target)
    if call is None:
        return False
    return [parameter_role(name) for name in (call.required + call.optional)[:3]] == list(LETTER)


def understand(target: Callable[..., Any], name: str) -> Function:
    """The function with its arguments for the causal mask and dropout.

    Raises QuestionError if it needs anything else.
    """
    call = calls.signature(target) or calls.Call((), ())
    rest = (call.required + call.optional)[3:]
    roles = {argument: argument_role(argument) for argument in rest}
    causal, dropout = (
        next((argument for argument in rest if roles[argument] == role), "")
        for role in ("causal", "dropout")
    )
    unknown = [a for a in call.required[3:] if a not in (causal, dropout)]
    if unknown:
        raise messages.refusal(
            f"{name} requires {messages.listed(unknown)} besides query, key and value.",
            "f(query, key, value), and if need be is_causal and dropout_p",
            "name a function that fills it in:",
            f"def f(query, key, value, is_causal, dropout_p=0.0):\n    return {name}(...)",
        )
    return Function(target, name, causal, dropout)


class PlainShell(nn.Module):
    """A function of x as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Hold the function."""
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        """The function's own result."""
        return self.function(x)


class PlainSubject(Subject):
    """A function of x alone: simplified self-attention."""

    family = "plain"

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        """Try out whether it takes batches, and the formats."""
        self.function, self.name = function, name
        x = trials.random_input(SIZES.batch, SIZES.tokens, SIZES.d_in)
        batched, unbatched, remark = trials.batches(PlainShell(function), x)
        taken = {"batched": batched, "unbatched": unbatched}
        self.capabilities = frozenset(axes for axes, works in taken.items() if works)
        self.matched = {"x": (calls.signature(function) or calls.Call(("x",), ())).required[0]}
        self.lacking = {"module": "it is a function"} | {
            axes: remark or "such an input is refused" for axes, works in taken.items() if not works
        }
        self.dtypes, remarks = trials.usable_dtypes(
            lambda dtype: PlainShell(function), x if batched else x[0], tuple(FORMATS)
        )
        self.notes = ((remark,) if remark else ()) + remarks

    def build(self, config: Config, weights: Weights | None) -> PlainShell:
        """The function as a module; there is nothing to set."""
        return PlainShell(self.function)


def is_plain(target: Callable[..., Any]) -> bool:
    """Whether a function needs one argument, and that is the input."""
    call = calls.signature(target)
    return call is not None and len(call.required) == 1 and bool(INPUT.fullmatch(call.required[0]))


def plain(target: Callable[..., Any], name: str, family: str | None) -> Subject:
    """The subject that a function of x is; QuestionError for any family but plain."""
    families.validate(family)
    if family not in (None, "plain"):
        raise messages.refusal(
            f"{name} takes x alone and has no parameters, which is the family plain, not {family}.",
            "a class or a factory of modules for the other families",
            "leave --family out, or name a factory function:",
            messages.FACTORY.format(name=name),
        )
    return PlainSubject(target, name)
