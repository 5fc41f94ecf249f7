"""Functions that are handed queries, keys and values in another form than three tensors."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from properties.recognition.adapters import calls, messages, trials
from properties.recognition.adapters.spellings import (
    FUSED_NAMES,
    LETTER,
    argument_role,
    fused_order,
    normalise,
    parameter_role,
)
from properties.recognition.asking import packed
from properties.recognition.asking.in_one import AXES, in_one
from properties.recognition.asking.of_module import of_module
from properties.recognition.asking.roles import SEGMENTS_OF_KEYS, role

MODULE = re.compile(r"(attn_?|attention_?)?(module|layer|self)", re.IGNORECASE)


def with_three(target: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is handed a module first, or queries, keys and values in one tensor or two, as one of
    these three; any other stays as it is.
    """
    call = calls.signature(target)
    if call is None or not call.required or has_nameless(target):
        return target
    first, *others = call.required
    if MODULE.fullmatch(first) and [parameter_role(name) for name in others[:3]] == list(LETTER):
        return of_module(target)
    if order_of(first) == "qkv":
        return joined_by_trial(target, 3, others)
    if parameter_role(first) == "query" and others and order_of(others[0]) == "kv":
        return joined_by_trial(target, 2, others[1:])
    return target


def order_of(name: str) -> str:
    """What lies in one tensor by the name of an argument: "qkv"; "" for one that is called otherwise."""
    return "" if "bias" in name.lower() or normalise(name) in FUSED_NAMES else fused_order(name)


def joined_by_trial(
    target: Callable[..., Any], parts: int, others: Sequence[str]
) -> Callable[..., Any]:
    """Such a function, where some axis of the parts gives an output of the shape of query; documents that
    are packed are told as flash attention is.

    others: what it requires besides.
    """
    if packed.names_of(others):
        return in_one(target, parts, AXES[0])
    given = [trials.random_input(4, 5, 2, 8, seed=seed) for seed in range(3)]
    for axis in AXES:
        joined = in_one(target, parts, axis)
        output = trials.call(joined, *given).output
        shapes = (given[0].shape, given[0].flatten(2).shape)  # with heads side by side
        if output is not None and output.shape in shapes:
            return joined
    return target


def has_nameless(target: Callable[..., Any]) -> bool:
    """Whether some argument cannot be told by its name."""
    kinds = (parameter.kind for parameter in inspect.signature(target).parameters.values())
    return inspect.Parameter.POSITIONAL_ONLY in kinds


def require_three(target: Callable[..., Any]) -> None:
    """QuestionError for a function whose first argument is queries, or all in one tensor, and that is
    called neither with queries, keys and values nor in a known way with what holds them.
    """
    call = calls.signature(target)
    required = call.required if call is not None and inspect.isroutine(target) else ()
    if not required or argument_role(required[0]):
        return
    if parameter_role(required[0]) != "query" and not order_of(required[0]):
        return
    if "Module" in str(getattr(target, "__annotations__", {}).get("return")):
        return
    name = getattr(target, "__name__", "it")
    raise messages.refusal(
        f"{name} requires {messages.listed(required)}: how to make these of queries, keys and values is "
        "not known.",
        "f(query, key, value), or f(qkv) of (B, T, 3, H, D)",
        "name a function of queries, keys and values that makes them:",
        messages.function_of(name, required),
    )


def segments_twice(names: Iterable[str]) -> tuple[str, ...]:
    """The arguments for the segments of queries and for those of keys; () where not both are there."""
    names = list(names)
    queries = next((name for name in names if role(name) == "segments"), "")
    keys = next((n for n in names if re.fullmatch(SEGMENTS_OF_KEYS, n.lower())), "")
    return (queries, keys) if queries and keys else ()
