"""The subject that a function f(query, key, value) is.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from properties.basics.dtypes import FORMATS, Array
from properties.recognition.adapters import (
    calls,
    crossing,
    differentiability,
    families,
    messages,
    other_weights,
    trials,
    widths,
)
from properties.recognition.adapters.function_calls import convention
from properties.recognition.adapters.function_shell import (
    SIZES,
    Function,
    Shell,
    layout_of,
    load,
    random_heads,
    shell_of,
    told,
    trial_config,
    ways,
)
from properties.recognition.adapters.other_inputs import segments_twice
from properties.recognition.adapters.required import Required, completed
from properties.recognition.adapters.spellings import (
    LETTER,
    argument_role,
    parameter_role,
)
from properties.recognition.asking import finding, packed
from properties.recognition.asking.functions import Manner
from properties.recognition.asking.headed import Headed
from properties.recognition.asking.on_device import OnDevice
from properties.recognition.asking.roles import role
from properties.recognition.asking.segments import SegmentsTwice
from properties.recognition.asking.widened import Widened, widened
from properties.recognition.asking.written import Written, output_among
from properties.recognition.foreign.bridge import Bridge
from properties.subjects.call import Answer, Arguments, Handing, Inputs
from properties.subjects.subject import JOINED_FAMILIES, Config, Subject
from properties.truth.parameters import Weights

OURS = "the projections, the split, the merge and the output projection around it are this suite's"
FURTHER = {"further results": "what the function returns beside its output"}
DRAWN = re.compile(r"drop|determin|rng", re.IGNORECASE)
DRAWS = "dropout by another library's generator: it keeps its default"


class FunctionSubject(Subject):
    """A function of queries, keys and values inside a `Shell`."""

    bare = True

    def __init__(self, function: Function, family: str) -> None:
        """Say what the shell offers in this family, and try out the formats."""
        self.function, self.family, self.name = function, family, function.name
        offered = {"projections", "qkv-bias", "rectangular", "batched", "module", "function"}
        if family in JOINED_FAMILIES:
            offered |= {"out-projection", "out-bias"}
        if function.dropout:
            offered.add("dropout")
        if any(isinstance(way, OnDevice) for way in ways(function.call)):
            offered.add("on a device")
        self.capabilities = frozenset(offered)
        self.matched = {
            role: name
            for role, name in (("causal", function.causal), ("dropout", function.dropout))
            if name
        }
        self.unasked = function.unasked
        self.lacking = {"context-length": "a function takes any number of tokens"}
        if not function.dropout:
            self.lacking |= {"dropout": function.undropped}
        x = trials.random_input(SIZES.batch, SIZES.tokens, SIZES.d_in)
        failures = trials.failures_in(
            lambda name: self.build(replace(trial_config(function, family), dtype=name), None),
            x,
            tuple(FORMATS),
        )
        self.dtypes, remarks = trials.usable(failures)
        self.limits, said = function.limits, widths.refused(failures)
        self.refused = tuple(said)
        if "float64" in said:
            refusal = f"it {said['float64']}"
            lost = ("float64", "wide format", "finer than bfloat16")
            self.lacking |= dict.fromkeys(lost, refusal)
        self.notes = (OURS, *told(function), *remarks)
        plain = Manner(
            function.call,
            layout=function.layout,
            dropout="" if function.dropped_by else function.dropout,
            trial=function.trial,
            head_dim=function.limits.head_dim(1),
        )
        told_scale = (way.scale for way in ways(function.call) if isinstance(way, Required))
        self.manner = finding.manner(plain, function.arguments, next(told_scale, ""))
        self.dtypes, unusable = finding.usable(self.manner, self.dtypes)
        self.notes = (*self.notes, *unusable)
        self.takes, self.layout = self.manner.takes, layout_of(function)
        self.hold(self.manner)
        found = {
            "dropout of calls": finding.drops(self.manner),
            "always causal": self.manner.hides,
            "mask in place of the future": self.manner.replaces,
            "slopes of items": finding.takes_slopes_of_items(self.manner),
        }
        self.capabilities |= {name for name, there in found.items() if there}
        self.unasked = {n: t for n, t in function.unasked.items() if n not in self.takes.values()}
        if function.further and not {"weights", "lse"} & self.takes.keys():
            self.unasked = {**self.unasked, **FURTHER}
        shell = shell_of(function, family).eval()
        *_, inner = ways(function.call)
        heads = [random_heads(function, seed) for seed in range(3)]
        crossing.cross(self, inner, shell.attend, heads)
        if not self.differentiable:
            return
        if reason := differentiability.reason(shell.attend, *heads):
            self.differentiable, self.lacking = False, {**self.lacking, "gradients": reason}

    def build(self, config: Config, weights: Weights | None) -> Shell:
        """A shell of the config's dtype; weights None leaves the initial parameters."""
        shell = shell_of(self.function, self.family, config)
        if weights is not None:
            load(shell, weights)
        return shell

    def hold(self, manner: Manner) -> None:
        """Call the function so, by these conventions; what is unusual about them is noted."""
        before = finding.unusual(self.manner, self.function.arguments)
        kept = [note for note in self.notes if note not in before]
        self.manner, self.conventions, self.origins = manner, manner.conventions, manner.origins
        self.notes = (*kept, *finding.unusual(manner, self.function.arguments))

    def held_to(self, declared: Mapping[str, str]) -> Subject:
        """The same by these conventions; what depends on them is found anew."""
        held = super().held_to(declared)
        if self.takes and isinstance(held, FunctionSubject):
            held.hold(finding.settled(self.manner, self.function.arguments, declared))
        return held

    def ask(self, module: Any, inputs: Inputs, arguments: Arguments, dtype: str) -> Answer:
        """The function's own answer, nothing of ours around it."""
        return self.manner.ask(inputs, arguments, dtype)

    def ask_handing(
        self, inputs: Inputs, arguments: Arguments, dtype: str, handing: Handing
    ) -> Answer:
        """The function's own answer."""
        return self.manner.ask(inputs, arguments, dtype, handing)

    def call_gradients(
        self, inputs: Inputs, arguments: Arguments, upstream: Array, dtype: str
    ) -> dict[str, Array]:
        """Those of the function itself."""
        return self.manner.gradients(inputs, arguments, upstream, dtype)

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


def subject(function: Function, family: str | None) -> Subject:
    """The subject; the family is multihead, or self if the function cannot hide the future.

    Raises QuestionError for the family plain, and where no way to call it gives an output.
    """
    families.validate(family)
    if family == "plain":
        raise messages.refusal(
            f"{function.name} takes queries, keys and values; the family plain takes x alone.",
            "--family multihead, encoder, wrapper, causal or self",
            "leave --family out, or name a function of x",
        )
    function = convention(function)
    other_weights.require_softmax(function, family)
    found, remark = found_family(function)
    subject = FunctionSubject(function, family or found)
    if remark and family is None:
        subject.notes = (*subject.notes, remark)
    return subject


def found_family(function: Function) -> tuple[str, str]:
    """Multihead if the function is meant to hide the future or does, else self; and why, in doubt."""
    if function.causal:
        return "multihead", ""
    told = any(role(name) in ("mask", "bias", "padding") for name in function.arguments)
    name = families.MASKED.sub("", function.name) if told else function.name  # by what it is told
    meant = f"it is called {function.name}" if families.says_causal(name) else ""
    meant = meant or ("" if function.unasked else families.mask_in_code(function.call))
    shell = shell_of(function, "wrapper")  # whose output is the context, whatever its format
    x = trials.random_input(SIZES.batch, SIZES.tokens, SIZES.d_in).to(
        getattr(torch, function.trial)
    )
    family, remark = families.reading(meant, trials.sees_future(shell, x))
    return ("self" if family == "self" else "multihead"), remark


def serves(target: Callable[..., Any]) -> bool:
    """Whether the leading parameters of a function are queries, keys and values."""
    call = calls.signature(target)
    if call is None:
        return False
    return [parameter_role(name) for name in arguments(call)[1][:3]] == list(LETTER)


def tensors_of(target: Callable[..., Any]) -> int:
    """How many tensors such a function requires: three, or four where one is for its output."""
    call = calls.signature(target)
    return 3 + bool(call and output_among(call.required))


def arguments(call: calls.Call) -> tuple[str, list[str], list[str]]:
    """The one for an output that the function writes, "" for none, then the others, and those required."""
    output = output_among(call.required)
    others = [name for name in call.required + call.optional if name != output]
    return output, others, [name for name in call.required if name != output]


def understand(target: Callable[..., Any], name: str) -> Function:
    """The function with its arguments for the causal mask and dropout.

    Raises QuestionError if it needs anything else.
    """
    call = calls.signature(target) or calls.Call((), ())
    output, others, required = arguments(call)
    rest, required = others[3:], required[3:]
    roles = {argument: argument_role(argument) for argument in rest}
    causal, dropout = (
        next((argument for argument in rest if roles[argument] == role), "")
        for role in ("causal", "dropout")
    )
    documents = packed.names_of(rest)
    told = tuple(name for name in documents or () if name)
    left: dict[str, str] = {}
    if isinstance(target, Bridge) and not target.arrays.draws:
        left = {a: DRAWS for a in rest if DRAWN.search(a)}
        dropout = ""
    heads, key_heads = (
        next((argument for argument in rest if roles[argument] == role), "")
        for role in ("num_heads", "kv_heads")
    )
    target = target if isinstance(target, Bridge) else widened(target)
    if segments := segments_twice(rest):
        target = SegmentsTwice(target, *segments)
    if output:
        target = Written(target, output, first=output == call.required[0])
    target = completed(target, required, dropout)
    made = (target.scale, target.seed, *target.masks) if isinstance(target, Required) else ()
    made += tuple(way.name for way in ways(target) if isinstance(way, Widened))
    counted = (heads, key_heads) if heads else ()
    unknown = [a for a in required if a not in (causal, dropout, *told, *made, *counted)]
    if any(parameter_role(argument) for argument in unknown):
        raise messages.refusal(
            f"{name} requires {messages.listed(unknown)} besides query, key and value: it projects them by "
            "matrices that it is handed.",
            "f(query, key, value) of what is projected already, or a module that holds the matrices",
            f"name a module that has them for parameters and calls {name} in its forward",
        )
    if unknown:
        raise messages.refusal(
            f"{name} requires {messages.listed(unknown)} besides query, key and value.",
            "f(query, key, value), and if need be is_causal and dropout_p",
            "name a function that fills it in:",
            messages.function(name, required, causal, dropout),
        )
    known = (*told, *counted, *segments[1:])
    kept = [a for a in rest if a not in (causal, dropout, *known)]
    unasked = calls.unknown(kept) | calls.unasked(kept) | left
    asked = tuple(a for a in rest if a not in (dropout, *told[1:], *left, *counted, *segments[1:]))
    target = Headed(target, heads, key_heads) if heads else target
    way = packed.Packed(target, documents) if documents else target
    return Function(way, name, causal, dropout, arguments=asked, unasked=unasked)
