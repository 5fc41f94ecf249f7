"""Functions f(query, key, value), with projections, split and merge put around them.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from properties.basics.dtypes import FORMATS, Array
from properties.recognition.adapters import (
    calls,
    crossing,
    differentiability,
    families,
    messages,
    trials,
)
from properties.recognition.adapters.required import Required, completed
from properties.recognition.adapters.spellings import LETTER, argument_role, parameter_role
from properties.recognition.asking import finding, packed
from properties.recognition.asking.functions import Manner
from properties.recognition.asking.headed import Headed
from properties.recognition.asking.in_a_tuple import InATuple
from properties.recognition.asking.merged import Merged
from properties.recognition.asking.widened import Widened, widened
from properties.recognition.foreign.bridge import Bridge
from properties.subjects.call import Answer, Arguments, Handing, Inputs
from properties.subjects.instance import seed_generators
from properties.subjects.subject import (
    CAUSAL_FAMILIES,
    HEADED_FAMILIES,
    JOINED_FAMILIES,
    Config,
    Subject,
)
from properties.truth.parameters import Sizes, Weights

AROUND = (packed.Packed, Merged, Widened, InATuple, Required, Headed)
SIZES = Sizes(batch=3, tokens=5, d_in=6, heads=2, head_dim=4, context_length=7)
OURS = "the projections, the split, the merge and the output projection around it are this suite's"


FURTHER = {"further results": "what the function returns beside its output"}
DRAWN = re.compile(r"drop|determin|rng", re.IGNORECASE)
DRAWS = "dropout by another library's generator: it keeps its default"
LAYOUTS = ("B H T D", "B T H D", "B*H T D", "T H D", "T D")
TELLING = (*LAYOUTS[:2], packed.LAYOUT)
"""Those in which a call can be told more than its queries, keys and values."""


@dataclass(frozen=True)
class Function:
    """A function of queries, keys and values, its arguments for the rest, and how it is called.

    layout: one of `LAYOUTS`; dropped_by: whether its argument for dropout is a module, not a
    probability; part: where the context stands in the tuple that it returns, None if it is all;
    arguments: those besides queries, keys, values and dropout; unasked: those of them that keep their
    defaults; undropped: what it says where it takes no dropout; further: whether there are other tensors in
    that tuple.
    """

    call: Callable[..., Any]
    name: str
    causal: str = ""
    dropout: str = ""
    layout: str = LAYOUTS[0]
    dropped_by: bool = False
    part: int | None = None
    arguments: tuple[str, ...] = ()
    unasked: Mapping[str, str] = field(default_factory=dict)
    undropped: str = "no argument is called dropout_p / dropout or the like"
    further: bool = False

    @property
    def packed(self) -> tuple[str, ...]:
        """Its arguments for documents that are packed one after the other, see `packed.Names`."""
        return self.call.names if isinstance(self.call, packed.Packed) else ()


class Shell(nn.Module):
    """What a function of queries, keys and values needs to be an attention module.

    With families multihead and encoder there is an output projection; with self and encoder,
    nothing is hidden.
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
        projected = family in JOINED_FAMILIES
        self.out_proj = nn.Linear(config.width, config.width) if projected else nn.Identity()
        self.dropout: Any = config.dropout
        if function.dropped_by:
            self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Any:
        """Map (B, T, d_in) to (B, T, W); what is no (B, H, T, D) is returned as it is."""
        context = self.attend(*self.handed_over(x))
        if not isinstance(context, Tensor) or context.ndim != 4:
            return context
        return self.out_proj(context.transpose(1, 2).flatten(2))  # (B, H, T, D) -> (B, T, W)

    def handed_over(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The queries, keys and values (B, H, T, D) of x, views of what the projections give."""
        layers = (self.W_query, self.W_key, self.W_value)
        query, key, value = (self.split(layer(x)) for layer in layers)
        return query, key, value

    def attend(self, *parts: Tensor) -> Any:
        """Three times (B, H, T, D) to the same, by the function in its own layout."""
        function, shape = self.function, parts[0].shape[:2]
        options: dict[str, Any] = {}
        if function.causal:
            options[function.causal] = self.family in CAUSAL_FAMILIES
        if function.dropout:
            live = function.dropped_by or self.training
            options[function.dropout] = self.dropout if live else 0.0
        if function.layout in ("B T H D", "N H D"):
            context = self.context(*(part.transpose(1, 2) for part in parts), **options)
            return context.transpose(1, 2) if getattr(context, "ndim", 0) == 4 else context
        if function.layout == "B H T D":
            return self.context(*parts, **options)
        heads = [part.flatten(0, 1) for part in parts]
        if function.layout == "T H D":
            turned = [part.transpose(1, 2) for part in parts]  # (B, T, H, D)
            context = together(self.context(*item, **options) for item in zip(*turned, strict=True))
            return context.transpose(1, 2) if getattr(context, "ndim", 0) == 4 else context
        if function.layout == "T D":
            context = together(self.context(*item, **options) for item in zip(*heads, strict=True))
            return context.unflatten(0, shape) if isinstance(context, Tensor) else context
        context = self.context(*heads, **options)
        return context.unflatten(0, shape) if isinstance(context, Tensor) else context

    def context(self, *parts: Tensor, **options: Any) -> Any:
        """What the function returns, or its part that is the context."""
        returned = self.function.call(*parts, **options)
        if self.function.part is None or not isinstance(returned, tuple):
            return returned
        return returned[self.function.part]

    def split(self, x: Tensor) -> Tensor:
        """(B, T, W) -> (B, H, T, D)."""
        batch, tokens, width = x.shape
        return x.reshape(batch, tokens, self.num_heads, width // self.num_heads).transpose(1, 2)


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
        self.dtypes, remarks = trials.usable_dtypes(
            lambda name: self.build(replace(trial_config(family), dtype=name), None),
            x,
            tuple(FORMATS),
        )
        self.notes = (OURS, *told(function), *remarks)
        if function.layout in TELLING:
            self.manner = finding.manner(
                function.call,
                function.arguments,
                function.layout,
                "" if function.dropped_by else function.dropout,
            )
            self.dtypes, unusable = finding.usable(self.manner, self.dtypes)
            self.notes = (*self.notes, *unusable)
            self.takes, self.layout = self.manner.takes, function.layout
            self.hold(self.manner)
            if finding.drops(self.manner):
                self.capabilities = self.capabilities | {"dropout of calls"}
            if self.manner.hides:
                self.capabilities = self.capabilities | {"always causal"}
            if finding.takes_slopes_of_items(self.manner):
                self.capabilities = self.capabilities | {"slopes of items"}
            asked = set(self.takes.values())
            self.unasked = {n: text for n, text in function.unasked.items() if n not in asked}
        if function.further and not {"weights", "lse"} & self.takes.keys():
            self.unasked = {**self.unasked, **FURTHER}
        shell = shell_of(function, family).eval()
        *_, inner = ways(function.call)
        crossing.cross(self, inner, shell.attend, list(map(random_heads, range(3))))
        if not self.differentiable:
            return
        if reason := differentiability.reason(shell.attend, *map(random_heads, range(3))):
            self.differentiable, self.lacking = False, {**self.lacking, "gradients": reason}

    def build(self, config: Config, weights: Weights | None) -> Shell:
        """A shell of the config's dtype; weights None leaves the initial parameters."""
        shell = shell_of(self.function, self.family, config).to(getattr(torch, config.dtype))
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


def together(contexts: Iterable[Any]) -> Any:
    """One tensor of those of all items; the first where that is none."""
    items = list(contexts)
    return torch.stack(items) if all(isinstance(one, Tensor) for one in items) else items[0]


def shell_of(function: Function, family: str, config: Config | None = None) -> Shell:
    """A new shell, for a trial if nothing else is asked for; torch's random state is left alone."""
    config = config or trial_config(family)
    with torch.random.fork_rng(devices=[]):
        seed_generators(config.seed)
        return Shell(function, config, family)


def told(function: Function) -> list[str]:
    """How the function is called, where that is not the usual way."""
    found = []
    if function.layout != LAYOUTS[0]:
        found.append(
            f"query, key and value are handed over as ({', '.join(function.layout.split())})"
        )
    if wide := next((way for way in ways(function.call) if isinstance(way, Widened)), None):
        found.append(f"{wide.name} is {wide.wide} wherever no window is asked about")
    for way in ways(function.call):
        found += way.notes if isinstance(way, Required) else []
        if isinstance(way, Headed) and way.merges:
            found.append(
                f"heads are merged in what it is given, (B, T, H * D), and told by {way.heads}"
            )
    if isinstance(function.call, Merged):
        found.append("heads are merged in what it returns, (B, T, H * D); they are split again")
    if function.dropped_by:
        found.append(f"{function.dropout} is given a torch.nn.Dropout")
    if function.part is not None:
        found.append(f"of the tuple returned, part {function.part} is judged: the context")
    return found


def ways(call: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """What stands around a function, from outside, and the function."""
    while isinstance(call, AROUND):
        yield call
        call = call.function
    yield call


def axes(layout: str) -> str:
    """(B, T, H, D)."""
    return f"({', '.join(layout.split())})"


def random_heads(seed: int) -> Tensor:
    """(B, H, T, D) of moderate numbers, its sizes pairwise different."""
    return trials.random_input(SIZES.batch, SIZES.heads, SIZES.tokens, SIZES.head_dim, seed=seed)


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
    found, remark = found_family(function)
    subject = FunctionSubject(function, family or found)
    if remark and family is None:
        subject.notes = (*subject.notes, remark)
    return subject


def convention(function: Function) -> Function:
    """The function with the way to call it that was found by trial.

    With four axes before three and two: the first way in which the output has the shape of query,
    also in training, and mixes tokens and not heads. Where no way gives that shape, the usual one,
    so that it is seen. Raises QuestionError where every way raises or gives no tensor.
    """
    tried: list[Attempt] = []
    usual = (LAYOUTS[:2], LAYOUTS[2:4], LAYOUTS[4:])
    for layouts in ((packed.LAYOUT,),) if function.packed else usual:
        for layout in layouts:
            for dropped_by in (False, True) if function.dropout else (False,):
                way = replace(function, layout=layout, dropped_by=dropped_by)
                tried += [attempted(replace(way, call=call)) for call in forms(way)]
        best = max(tried, key=lambda attempt: attempt.score)
        if best.score[0]:
            return best.supported()
    given = [attempt.way for attempt in tried if not attempt.failure]
    if given:
        return given[0]
    raise messages.refusal(
        f"{function.name} gives no output for query, key and value: random float32 torch tensors "
        f"(B, H, T, D) on the CPU: it {tried[0].failure}. Tried likewise: "
        f"{messages.listed(map(axes, (packed.LAYOUT,) if function.packed else LAYOUTS[1:]))}.",
        "a torch tensor of the shape of query",
        "name a function that turns the tensors into what it takes and its result into a tensor:",
        messages.ARRAYS.format(name=function.name.rpartition(":")[2].rpartition(".")[2]),
    )


def forms(way: Function) -> Iterator[Callable[..., Any]]:
    """The function in each way to hand over heads and the masks that it requires, itself where it is told
    neither.
    """
    call = way.call
    for headed in call.forms(way.layout) if isinstance(call, Headed) else [call]:
        inner = headed.function if isinstance(headed, Headed) else headed
        for told in inner.forms(way.layout) if isinstance(inner, Required) else [inner]:
            yield replace(headed, function=told) if isinstance(headed, Headed) else told


@dataclass(frozen=True)
class Attempt:
    """A way to call a function: whether the shape is right, whether it is so in training, and
    whether tokens are mixed and heads are not; in `failure` why there is no tensor, in `undropped`
    why there is none with dropout.
    """

    way: Function
    score: tuple[bool, bool, bool] = (False, False, False)
    failure: str = ""
    undropped: str = ""

    def supported(self) -> Function:
        """The function in this way, without dropout where it says that it does not support it."""
        if not finding.UNSUPPORTED.search(self.undropped.removeprefix("raised ")):
            return self.way
        said = f"{self.way.dropout} 0.5 {self.undropped}"
        return replace(self.way, dropout="", dropped_by=False, undropped=said)


def attempted(way: Function) -> Attempt:
    """What comes of calling a function in this way."""
    config = replace(trial_config("multihead"), dropout=0.5)
    shell = shell_of(way, "multihead", config).eval()
    query, key, value = parts = [random_heads(seed) for seed in range(3)]
    trial = trials.call(shell.attend, *parts)
    if trial.named:
        return attempted(replace(way, call=InATuple(way.call)))
    if trial.output is None:
        count = 0 if way.part is not None else len(trial.returned)
        several = sum(isinstance(part, Tensor) for part in trial.returned) > 1
        parted = [attempted(replace(way, part=part, further=several)) for part in range(count)]
        return next((p for p in parted if p.score[0]), Attempt(way, failure=trial.failure))
    output = trial.output
    if output.shape == query.transpose(1, 2).flatten(2).shape and way.layout in LAYOUTS[:2]:
        return attempted(replace(way, call=Merged(way.call, way.layout)))
    if output.shape != query.shape:
        return Attempt(way)
    training = trial
    if way.dropout:
        training = trials.call(shell.train().attend, *parts)
        shell.eval()
    heads, tokens = (
        moved(output, trials.call(shell.attend, query, key, other).output, axis)
        for axis in (1, 2)
        for other in [value.index_fill(axis, torch.tensor(0), 7.0)]
    )
    apart = sum(heads) <= 1 and any(tokens[1:])  # one head moves one, wherever it comes
    if any(isinstance(one, Required) and one.masks for one in ways(way.call)):
        apart = apart and hides_nothing(shell, parts, output)
    dropped = training.output is not None and training.output.shape == query.shape
    return Attempt(way, (True, dropped, apart), undropped=training.failure)


def hides_nothing(shell: Shell, parts: list[Tensor], output: Tensor) -> bool:
    """Whether queries matter to an output, and no large number was added to every score: that rounds."""
    query, key, value = parts
    other = trials.call(shell.attend, query.flip(-1), key, value).output
    exact = trials.call(shell.attend, *(part.double() for part in parts)).output
    if other is None or exact is None or not bool(output.isfinite().all()):
        return False
    return trials.same(output, exact.to(output.dtype)) and not trials.same(output, other)


def moved(output: Tensor, changed: Tensor | None, axis: int) -> list[bool]:
    """Which parts of an output along an axis are others in another one; none where that is no tensor."""
    if changed is None or changed.shape != output.shape:
        return [False] * output.shape[axis]
    pairs = zip(output.unbind(axis), changed.unbind(axis), strict=True)
    return [not trials.same(*pair) for pair in pairs]


def found_family(function: Function) -> tuple[str, str]:
    """Multihead if the function is meant to hide the future or does, else self; and why, in doubt."""
    if function.causal:
        return "multihead", ""
    meant = f"it is called {function.name}" if families.says_causal(function.name) else ""
    meant = meant or ("" if function.unasked else families.mask_in_code(function.call))
    shell = shell_of(function, "wrapper")  # whose output is the context, whatever its format
    x = trials.random_input(SIZES.batch, SIZES.tokens, SIZES.d_in)
    family, remark = families.reading(meant, trials.sees_future(shell, x))
    return ("self" if family == "self" else "multihead"), remark


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
    target = completed(target, call.required[3:], dropout)
    made = (target.scale, target.seed, *target.masks) if isinstance(target, Required) else ()
    counted = (heads, key_heads) if heads else ()
    unknown = [a for a in call.required[3:] if a not in (causal, dropout, *told, *made, *counted)]
    if unknown:
        raise messages.refusal(
            f"{name} requires {messages.listed(unknown)} besides query, key and value.",
            "f(query, key, value), and if need be is_causal and dropout_p",
            "name a function that fills it in:",
            messages.function(name, call.required[3:], causal, dropout),
        )
    unasked = calls.unasked(a for a in rest if a not in (causal, dropout, *told, *counted)) | left
    others = tuple(a for a in rest if a not in (dropout, *told[1:], *left, *counted))
    target = Headed(target, heads, key_heads) if heads else target
    way = packed.Packed(target, documents) if documents else target
    return Function(way, name, causal, dropout, arguments=others, unasked=unasked)
