"""How a function of queries, keys and values is called: found by trial.

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from properties.recognition.adapters import messages, trials, widths
from properties.recognition.adapters.function_shell import (
    APART,
    FIRST,
    LAYOUTS,
    Function,
    Shell,
    random_heads,
    shell_of,
    trial_config,
    ways,
)
from properties.recognition.adapters.required import Required
from properties.recognition.adapters.required import forms as told_forms
from properties.recognition.asking import declined, packed
from properties.recognition.asking.folded import Folded
from properties.recognition.asking.headed import Headed
from properties.recognition.asking.headed import forms as in_heads
from properties.recognition.asking.in_a_tuple import InATuple
from properties.recognition.asking.in_lists import InLists
from properties.recognition.asking.merged import Merged
from properties.recognition.asking.one_by_one import OneByOne
from properties.recognition.asking.one_key_head import OneKeyHead
from properties.recognition.asking.roles import role
from properties.recognition.asking.tokens_first import TokensFirst
from properties.subjects.call import axes
from properties.subjects.limits import Limits


def convention(function: Function) -> Function:
    """The function with the way to call it that was found by trial.

    With four axes before three and two: the first way in which the output has the shape of query,
    also in training, and mixes tokens and not heads. Where every way raises or gives no tensor, likewise
    with wider heads and in other formats, as kernels want them. Where no way gives that shape, the usual
    one, so that it is seen. Raises QuestionError where nothing gives a tensor.
    """
    failures: list[str] = []
    for dtype, least in product(widths.TRIED, widths.LEAST):
        tried = in_layouts(replace(function, trial=dtype, limits=Limits(head_dims=least)))
        best = max(tried, key=lambda attempt: attempt.score)
        if best.score[0]:
            return widths.limited(best.supported())
        if given := [attempt.way for attempt in tried if not attempt.failure]:
            return given[0]
        failures.append(tried[0].failure)
    first, last = failures[0], failures[-1]
    others = (packed.LAYOUT,) if function.packed else (*LAYOUTS[1:], FIRST, *APART)
    raise messages.refusal(
        f"{function.name} gives no output for query, key and value: random float32 torch tensors "
        f"(B, H, T, D) on the CPU: it {first}. Tried likewise: "
        f"{messages.listed(map(axes, others))}, "
        f"with a head_dim of {messages.listed(map(str, widths.LEAST[1:]))}, in "
        f"{messages.listed(widths.TRIED[1:])}{'' if last == first else f': there it {last}'}.",
        "a torch tensor of the shape of query",
        *way_out(function, failures),
    )


def way_out(function: Function, failures: Sequence[str]) -> tuple[str, str]:
    """What to do about a function that gives no tensor: what this machine lacks no other function has."""
    if any(trials.ELSEWHERE.search(failure) for failure in failures):
        return "run it where the device or package is there that it asks for", ""
    called = function.name.rpartition(":")[2].rpartition(".")[2]
    way = "name a function that turns the tensors into what it takes and its result into a tensor:"
    return way, messages.ARRAYS.format(name=called)


def in_layouts(function: Function) -> list[Attempt]:
    """Ways to call it, up to the first that gives an output of the shape of query."""
    tried: list[Attempt] = []
    usual = ((*LAYOUTS, FIRST), APART[:2], APART[2:3], APART[3:])
    for layouts in ((packed.LAYOUT,),) if function.packed else usual:
        for layout in layouts:
            for dropped_by in (False, True) if function.dropout else (False,):
                way = replace(function, dropped_by=dropped_by)
                tried += [attempted(laid(way, call, layout)) for call in forms(way, layout)]
        if any(attempt.score[0] for attempt in tried):
            return tried
    return tried if function.packed else [*tried, *in_lists(function)]


def laid(way: Function, call: Callable[..., Any], layout: str) -> Function:
    """The function in a layout. call: itself, with what it requires in this layout."""
    told = tuple(name for name in way.arguments if role(name) in ("padding", "segments"))
    if layout == "B*H T D":
        return replace(way, call=Folded(call, told))
    if layout == "T H D":
        return replace(way, call=OneByOne(call, True, told), layout="B T H D")
    if layout == "T D":
        return replace(way, call=Folded(OneByOne(call, False, told), told))
    if layout == APART[3]:
        return replace(way, call=Folded(OneKeyHead(call, told), told))
    if layout == FIRST and isinstance(call, Headed):
        call, layout = replace(call, function=TokensFirst(call.function)), call.layout
    elif layout == FIRST:
        call, layout = TokensFirst(call), "B T H D"
    return replace(way, call=call, layout=layout)


def in_lists(function: Function) -> list[Attempt]:
    """What comes of lists of matrices, where that is an output. Where these may be of different lengths,
    that is not asked about.
    """
    way = replace(function, call=InLists(function.call))
    lengths = [random_heads(way, seed)[0, 0, : seed + 2] for seed in range(3)]
    apart = trials.call(lambda *parts: function.call(*(list(parts) for _ in range(3))), *lengths)
    if len(apart.returned) == len(lengths):
        text = "sequences of different lengths in one call: all are as long as each other"
        way = replace(way, unasked={**way.unasked, "lists": text})
    found = attempted(way)
    return [found] if found.score[0] else []


def forms(way: Function, layout: str) -> Iterator[Callable[..., Any]]:
    """The function in each way to hand over heads and the masks that it requires in a layout, itself where
    it is told neither.
    """
    call = way.call
    for headed in in_heads(call, layout) if isinstance(call, Headed) else [call]:
        inner = headed.function if isinstance(headed, Headed) else headed
        for told in told_forms(inner, layout) if isinstance(inner, Required) else [inner]:
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
        if not declined.SAYS_SO.search(self.undropped.removeprefix("raised ")):
            return self.way
        said = f"{self.way.dropout} 0.5 {self.undropped}"
        return replace(self.way, dropout="", dropped_by=False, undropped=said)


def attempted(way: Function) -> Attempt:
    """What comes of calling a function in this way."""
    config = replace(trial_config(way, "multihead"), dropout=0.5)
    shell = shell_of(way, "multihead", config).eval()
    query, key, value = parts = [random_heads(way, seed) for seed in range(3)]
    trial = trials.call(shell.attend, *parts)
    if trial.named:
        return attempted(replace(way, call=in_a_tuple(way.call)))
    if trial.output is None:
        count = 0 if way.part is not None else len(trial.returned)
        several = sum(isinstance(part, Tensor) for part in trial.returned) > 1
        parted = (
            attempted(replace(with_first(way, part), part=0, further=several))
            for part in range(count)
        )
        return next((p for p in parted if p.score[0]), Attempt(way, failure=trial.failure))
    output = trial.output
    turned = query.transpose(1, 2)
    if output.shape in (turned.shape, turned.flatten(2).shape) and way.layout in LAYOUTS:
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
    required = [one for one in ways(way.call) if isinstance(one, Required)]
    if any(one.masks for one in required):
        apart = apart and hides_nothing(shell, parts, output)
    if any(one.scale for one in required):
        apart = apart and scaled_by_root(parts, output)
    dropped = training.output is not None and training.output.shape == query.shape
    return Attempt(way, (True, dropped, apart), undropped=training.failure)


def with_first(way: Function, part: int) -> Function:
    """The same function, of whose results this one comes first."""
    return replace(way, call=in_a_tuple(way.call, part)) if part else way


def in_a_tuple(call: Callable[..., Any], first: int = 0) -> Callable[..., Any]:
    """The function whose result is a tuple with this part first, called for all items as before."""
    if isinstance(call, Folded | OneByOne | OneKeyHead):
        return replace(call, function=in_a_tuple(call.function, first))
    return InATuple(call, first)


def hides_nothing(shell: Shell, parts: list[Tensor], output: Tensor) -> bool:
    """Whether queries matter to an output, and no large number was added to every score: that rounds."""
    query, key, value = parts
    other = trials.call(shell.attend, query.flip(-1), key, value).output
    exact = trials.call(shell.attend, *(part.double() for part in parts)).output
    if other is None or exact is None or not bool(output.isfinite().all()):
        return False
    return trials.same(output, exact.to(output.dtype)) and not trials.same(output, other)


def scaled_by_root(parts: list[Tensor], output: Tensor) -> bool:
    """Whether an output is torch's own, with the future hidden or not."""
    query, key, value = parts
    own = [scaled_dot_product_attention(query, key, value, is_causal=c) for c in (True, False)]
    return any(torch.allclose(output, one, rtol=1e-2, atol=1e-2) for one in own)


def moved(output: Tensor, changed: Tensor | None, axis: int) -> list[bool]:
    """Which parts of an output along an axis are others in another one; none where that is no tensor."""
    if changed is None or changed.shape != output.shape:
        return [False] * output.shape[axis]
    pairs = zip(output.unbind(axis), changed.unbind(axis), strict=True)
    return [not trials.same(*pair) for pair in pairs]
