"""Which classes beside a module may keep its keys and values: found by annotation, name or method."""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Iterator, Mapping
from inspect import Parameter
from typing import Any

from torch import Tensor, nn

from properties.recognition.adapters.spellings import argument_role, normalise, parameter_role
from properties.recognition.asking.holders import Holder

BATCH = re.compile(r"(max)?(b|bs|bsz|batch|batchsize)|num(seqs|sequences)")
LAYERS = re.compile(r"(num|n)(hidden)?layers?|layers")
WINDOW = re.compile(r"(sliding)?window(size|length|len)?")
ROOM = re.compile(r"maxcache(size|len|length)|(max)?cache(size|len|length)|capacity|size")
FORMAT = re.compile(r"(cache|kv)?dtype")


def holders(module: nn.Module, name: str) -> Iterator[Holder]:
    """Ways to make an object for the argument of this name of a forward."""
    home = vars(sys.modules.get(type(module).__module__, object))
    annotated = [kind for kind in of_annotation(module, name, home) if may_hold(kind, module)]
    beside = {kind: None for kind in home.values() if inspect.isclass(kind)}
    called = [k for k in beside if is_called_so(k) and may_hold(k, module)]
    same = [kind for kind in called if normalise(kind.__name__) == normalise(name)]
    derived = [k for k in called if issubclass(k, tuple(annotated)) and k not in annotated]
    for kind in [*annotated, *derived] if annotated else called:
        if is_of_two(kind):
            parts = (k for k in called if not is_of_two(k) and meant(k) is not None)
            yield from (
                Holder(kind, {}, False, of_each=Holder(k, meant(k) or {}, False)) for k in parts
            )
            continue
        if (arguments := meant(kind)) is None:
            continue
        certain = kind in (annotated or same) or len(called) == 1
        yield Holder(kind, arguments, certain)
        if {"heads", "width"} & set(arguments.values()):
            yield Holder(kind, arguments, certain, copied=True)


def of_annotation(module: nn.Module, name: str, home: Mapping[str, Any]) -> list[type]:
    """The classes in the annotation of an argument of forward, which may be text."""
    parameter = inspect.signature(module.forward).parameters.get(name)
    annotation = Parameter.empty if parameter is None else parameter.annotation
    if isinstance(annotation, str):
        return [k for n in re.findall(r"\w+", annotation) if inspect.isclass(k := home.get(n))]
    parts = [*typing.get_args(annotation), annotation]
    texts = [part.__forward_arg__ for part in parts if isinstance(part, typing.ForwardRef)]
    parts += [home.get(text) for text in texts]
    return [part for part in parts if inspect.isclass(part)]


def may_hold(kind: type, module: nn.Module) -> bool:
    """Whether objects of it are made, not of what derives from it, do something, and are no module like
    this one.
    """
    if inspect.isabstract(kind) or getattr(kind, "_is_protocol", False):
        return False
    if kind.__module__ in ("builtins", "typing", "abc") or issubclass(kind, Tensor | type(module)):
        return False
    if issubclass(type(module), kind):
        return False
    return any(inspect.isfunction(getattr(kind, n, None)) for n in dir(kind) if n[0] != "_")


def is_called_so(kind: type) -> bool:
    """Whether a class is called a cache and no attention, or has update(keys, values), and is no module
    that is called on tokens.
    """
    if issubclass(kind, nn.Module) and kind.forward is not nn.Module.forward:
        return False
    if re.search("cache", kind.__name__, re.IGNORECASE):
        return not re.search("att(n|ention)|config", kind.__name__, re.IGNORECASE)
    update = getattr(kind, "update", None)
    if not inspect.isfunction(update):
        return False
    names = [*inspect.signature(update).parameters][1:3]
    return [parameter_role(name) for name in names] == ["key", "value"]


def is_of_two(kind: type) -> bool:
    """Whether an object is made of two caches, that of x and that of a context, as for a decoder."""
    try:
        parameters = inspect.signature(kind).parameters.values()
    except (TypeError, ValueError):  # it does not say
        return False
    caches = [p for p in parameters if re.search("cache", p.name, re.IGNORECASE)]
    if len(caches) == 1:
        return caches[0].kind is Parameter.VAR_POSITIONAL
    return len(caches) == 2 and all(p.default is Parameter.empty for p in caches)


def meant(kind: type) -> dict[str, str] | None:
    """What the arguments of a constructor mean; None where one is needed whose meaning nobody knows."""
    try:
        parameters = inspect.signature(kind).parameters
    except (TypeError, ValueError):  # it does not say
        return None
    found = {}
    for name, parameter in parameters.items():
        if meaning := meaning_of(name):
            found[name] = meaning
        elif parameter.default is Parameter.empty and parameter.kind in NEEDED:
            return None
    shared = [name for name in found if argument_role(name) == "kv_heads"]
    both = {n: "query heads" for n in found if shared and argument_role(n) == "num_heads"}
    return found | both


NEEDED = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
MEANINGS = {
    "context_length": "room",
    "num_heads": "heads",
    "kv_heads": "heads",
    "head_dim": "head_dim",
    "value_dim": "head_dim",
    "embed": "width",
    "max_batch": "batch",
    "device": "device",
}


def meaning_of(name: str) -> str:
    """What a constructor's argument of this name is told, a key of what `Holder.make` tells, or ""."""
    plain = normalise(name)
    for pattern, meaning in (
        (BATCH, "batch"),
        (LAYERS, "layers"),
        (FORMAT, "dtype"),
        (WINDOW, "room"),
        (ROOM, "room"),
    ):
        if pattern.fullmatch(plain):
            return meaning
    return MEANINGS.get(argument_role(name) or "", "")
