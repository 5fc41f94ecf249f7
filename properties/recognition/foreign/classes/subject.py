"""The subject that a class or factory of another library's modules is."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from types import CodeType
from typing import Any

from properties.basics.dtypes import FORMATS
from properties.recognition.adapters import crossing, torch_module, trials
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.foreign import finding
from properties.recognition.foreign.classes import kinds
from properties.recognition.foreign.classes.original import STEPWISE, Original
from properties.recognition.foreign.classes.standing import standing
from properties.subjects.subject import Config, Subject


def original_of(target: Callable[..., Any]) -> Original | None:
    """A class or factory of another library's modules, by its base class, the class that a function names,
    or the arrays in its code; None for torch's, and for what is none.
    """
    for owner in [target] if inspect.isclass(target) else named_classes(target):
        if (kind := kinds.kind_of(owner)) is not None:
            return Original(target, owner, kind)
    return None


def named_classes(function: Callable[..., Any]) -> Iterator[type]:
    """The classes that a function's code names."""
    code, known = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    for name in finding.names_in(code) if isinstance(code, CodeType) else ():
        if isinstance(value := known.get(name), type):
            yield value


def subject(original: Original, family: str | None, given: Mapping[str, Any]) -> Subject:
    """The subject, understood as one of torch modules is.

    Raises QuestionError where it cannot be asked, as `torch_module.subject` does.
    """
    kind = original.kind
    made = torch_module.subject(standing(original), family, given)
    made.capabilities -= {"module"}
    made.lacking = {**made.lacking, "module": f"it is a module of {kind.name}"}
    steps = (p.name for p in original.called if p.name in STEPWISE)
    made.unasked = {
        **made.unasked,
        **dict.fromkeys(steps, "going on from earlier tokens: it is False"),
    }
    if kind.by_format:  # in which formats a library computes is no choice of its user's
        made.refused = tuple(name for name in FORMATS if name not in made.dtypes)
    if kind.arrays is None:
        made.capabilities |= {"other arrays"}
    elif isinstance(made, ModuleSubject):
        sizes = made.blueprint.first_sizes
        x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
        module = made.build(Config(sizes, dtype=made.dtypes[0]), None)
        crossing.in_arrays(made, kind.arrays, module, [x if made.has("batched") else x[0]])
    return made
