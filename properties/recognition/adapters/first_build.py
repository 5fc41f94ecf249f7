"""The first module that is built of a class or factory, and what that tells of its arguments.

Legend: B batch, T tokens.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from properties.basics.errors import QuestionError
from properties.recognition.adapters import (
    arguments,
    biases,
    calls,
    families,
    given_masks,
    given_values,
    given_zeros,
    trials,
)
from properties.recognition.adapters.blueprint import Blueprint
from properties.recognition.adapters.given_masks import GivenMasks
from properties.recognition.adapters.image import mixes, with_image, with_tokens_first
from properties.recognition.adapters.output_first import place_of_output
from properties.recognition.adapters.spellings import WINDOW
from properties.recognition.adapters.two_inputs import with_two_inputs
from properties.recognition.adapters.unbounded import (
    WORDS,
    gives,
    required_windows,
)
from properties.recognition.asking import cache_finding
from properties.recognition.asking.on_itself import OnItself, axes_of
from properties.recognition.asking.roles import packed_role, role
from properties.recognition.asking.widened import WIDE
from properties.recognition.turning.finding import with_angles
from properties.subjects.subject import Config
from properties.truth.parameters import Sizes


def first_build(
    target: Callable[..., Any], given: Mapping[str, Any]
) -> tuple[Blueprint, nn.Module]:
    """The blueprint, square only where it has to be, and a module built from it.

    given: values by name for what has no known meaning; a window that is required and has none is wide.
    """
    wide = required_windows(target, given)
    if not wide:
        return built_with(target, given)
    try:
        blueprint, module = built_with(target, {**given, **dict.fromkeys(wide, WIDE)})
    except QuestionError:
        return built_with(target, given)
    told = blueprint.arguments
    notes = tuple(n for n in told.notes if n.partition(" ")[0] not in wide)
    asked = dict.fromkeys(wide, f"{WINDOW}: {WORDS[WIDE]}")
    told = replace(told, notes=notes, unasked={**told.unasked, **asked})
    return replace(blueprint, arguments=told), module


def built_with(target: Callable[..., Any], given: Mapping[str, Any]) -> tuple[Blueprint, nn.Module]:
    """The same with these values alone; with biases alone where nothing comes without them."""
    owner = getattr(target, "__name__", type(target).__name__)
    blueprint = Blueprint(target, arguments.read(target, owner, given))
    built = built_of(blueprint)
    biased = biases.alone(blueprint)
    if biased is None or runs(*built):
        return built
    with suppress(QuestionError):  # the refusal without them says as much
        again = built_of(biased)
        if runs(*again):
            return again
    return built


def runs(blueprint: Blueprint, module: nn.Module) -> bool:
    """Whether a call with x gives a tensor, be it handed the angles that it takes."""
    sizes = blueprint.first_sizes
    return gives(module, sizes) or gives(with_angles(blueprint, module)[1], sizes)


def built_of(blueprint: Blueprint) -> tuple[Blueprint, nn.Module]:
    """The blueprint with what the first modules tell, and a module built from it."""
    target = blueprint.target
    heads = 2 if blueprint.arguments.has("num_heads", "head_dim") else 1
    square = not blueprint.arguments.has("d_in")
    blueprint = replace(blueprint, square=square)
    try:
        module = blueprint.attempt(Config(blueprint.sizes(heads)), None)
    except QuestionError as refused:  # perhaps d_in has to be d_out
        blueprint = replace(blueprint, square=True)
        try:
            module = blueprint.attempt(Config(blueprint.sizes(heads)), None)
        except QuestionError:
            raise refused from refused.__cause__
    blueprint, module = with_needed_values(blueprint, module, heads)
    blueprint, module = with_two_inputs(blueprint, module, heads)
    blueprint, module = with_image(blueprint, module, heads)
    blueprint, module = with_tokens_first(blueprint, module, heads)
    blueprint, module = with_documents(blueprint, module, heads)
    blueprint, module = with_nothing_added(blueprint, module, heads)
    blueprint, module = with_required_masks(blueprint, module, heads)
    blueprint, module = with_needed_context(blueprint, module, heads)
    if not inspect.isclass(target) and not blueprint.square and makes_squares(blueprint, heads):
        blueprint = replace(blueprint, square=True)
        module = blueprint.attempt(Config(blueprint.sizes(heads)), None)
    check_width_argument(blueprint, module)
    blueprint, module = with_output_first(blueprint, module, heads)
    blueprint, module = with_axes(blueprint, module, heads)
    return with_output_alone(*with_dropout(blueprint, module, heads), heads)


def with_needed_values(
    blueprint: Blueprint, module: nn.Module, heads: int
) -> tuple[Blueprint, nn.Module]:
    """The same, or told the index of a layer, a causal flag or a past that forward requires, where it runs
    then with the masks that it requires as well.
    """
    call, sizes = calls.signature(module.forward), blueprint.sizes(heads)
    values = given_values.needed(module, call.required[1:]) if call else None
    if values is None:
        return blueprint, module
    told = replace(blueprint, values=values)
    made = told.attempt(Config(sizes), None)
    masked = with_required_masks(told, made, heads)
    return (told, made) if gives(with_angles(*masked)[1], sizes) else (blueprint, module)


def with_documents(
    blueprint: Blueprint, module: nn.Module, heads: int
) -> tuple[Blueprint, nn.Module]:
    """The same, or called with a batch of which each item is a document, where forward requires to be told
    where these start in packed tokens.
    """
    call = calls.of_forward(module)
    starts = [n for n in (call.required[1:] if call else ()) if packed_role(n) == "starts"]
    if len(starts) != 1:
        return blueprint, module
    sizes, note = (
        blueprint.sizes(heads),
        f"each item is a document of packed tokens, by {starts[0]}",
    )
    told = replace(blueprint.arguments, notes=(*blueprint.arguments.notes, note))
    other = replace(blueprint, arguments=told, documents=starts[0])
    made = with_angles(other, other.attempt(Config(sizes), None))[1]
    if not mixes(made, trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)):
        return blueprint, module
    return other, other.attempt(Config(sizes), None)


def with_nothing_added(
    blueprint: Blueprint, module: nn.Module, heads: int
) -> tuple[Blueprint, nn.Module]:
    """The same, or told zeros where forward requires what it adds to the scores or to the output: the first
    form that runs with the masks that it requires as well.
    """
    call = calls.of_forward(calls.inside(module))
    sizes = blueprint.sizes(heads)
    for zeros in given_zeros.forms(call.required) if call else ():
        asked = {**blueprint.arguments.unasked, **given_zeros.words(zeros)}
        told = replace(
            blueprint, zeros=zeros, arguments=replace(blueprint.arguments, unasked=asked)
        )
        made = told.attempt(Config(sizes), None)
        masked = with_required_masks(told, made, heads)
        if sees(with_angles(*masked)[1], sizes):
            return told, told.attempt(Config(sizes), None)
    return blueprint, module


def with_required_masks(
    blueprint: Blueprint, module: nn.Module, heads: int
) -> tuple[Blueprint, nn.Module]:
    """The same, or told the masks that forward requires: the first form that runs and hides nothing; where
    several do, of those that round least.

    Where it requires more than x and masks, what is made for the rest has to be tried with them: None.
    Angles that it takes are, and found again.
    """
    call = calls.of_forward(calls.inside(module))
    names = call.required_masks if call else ()
    if call is None or not names:
        return blueprint, module
    rest = calls.Call(tuple(n for n in call.required if n not in names), ())
    alone = call.tokens or rest.context or len(rest.required) == 1
    queries, keys = call.tokens[:2] or (call.required[0], calls.context_of(call))
    found: list[tuple[float, Blueprint]] = []
    for masks in given_masks.forms(GivenMasks(names, queries, keys)):
        if found and masks.shape != shape_of(found[0][1]):
            break
        told = replace(blueprint, masks=masks)
        made = told.attempt(Config(blueprint.sizes(heads)), None)
        if not alone:
            return told, made
        made = with_angles(told, made)[1]
        if sees(made, blueprint.sizes(heads)):
            found.append((rounding(made, blueprint.sizes(heads)), told))
    if not found:
        return blueprint, module
    least = min(error for error, _ in found)
    told = next(told for error, told in found if error <= 10 * least)
    return told, told.attempt(Config(blueprint.sizes(heads)), None)


def shape_of(blueprint: Blueprint) -> str:
    """The shape of the masks that are made for forward."""
    return blueprint.masks.shape if blueprint.masks else ""


def rounding(module: nn.Module, sizes: Sizes) -> float:
    """How far the output in float32 is from that in float64: far where a large number is added to every
    score, which hides nothing and is no mask that shows all.
    """
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    short, long = trials.run(module, x).tensor, trials.run(module.double(), x.double()).tensor
    return math.inf if short is None or long is None else float((short - long).abs().max())


def with_needed_context(
    blueprint: Blueprint, module: nn.Module, heads: int
) -> tuple[Blueprint, nn.Module]:
    """The same, or given a context that has a default, without which forward does not run, be it handed the
    angles that it takes.
    """
    call = calls.of_forward(calls.inside(module))
    name, sizes = calls.context_of(call), blueprint.sizes(heads)
    if call is None or name not in call.optional or gives(module, sizes):
        return blueprint, module
    if gives(with_angles(blueprint, module)[1], sizes):
        return blueprint, module
    told = replace(blueprint, context=name)
    made = told.attempt(Config(told.sizes(heads)), None)
    return (told, made) if gives(made, told.sizes(heads)) else (blueprint, module)


def sees(module: nn.Module, sizes: Sizes) -> bool:
    """Whether a module gives numbers, and not the same ones for all tokens, as where nothing is seen."""
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    output = trials.run(module, x).tensor
    if output is None or output.shape[:-1] != x.shape[:-1] or not bool(output.isfinite().all()):
        return False
    return not trials.same(output[:, :1].expand_as(output), output)


def with_output_alone(
    blueprint: Blueprint, module: nn.Module, heads: int
) -> tuple[Blueprint, nn.Module]:
    """The same, or with an output alone where forward returns more beside it, or something around it.

    Where it takes a past, a call that hands one over gets all that is returned; so does one that says
    whether weights are wanted.
    """
    sizes = blueprint.sizes(heads)
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    trial = trials.run(module, x)
    tensors = sum(isinstance(part, Tensor) for part in trial.returned)
    if not tensors:
        return blueprint, module
    call = calls.of_forward(module)
    past = cache_finding.named(cache_finding.PAST, call.optional if call else ())
    flags = cache_finding.named(cache_finding.FLAG, call.optional if call else ())
    told, unasked = blueprint.arguments, {}
    if tensors > 1 and not past:
        unasked = {"further results": "what forward returns beside its output"}
    note = f"forward {trial.failure.removesuffix(trials.NO_TENSOR)}; the output in it is judged"
    told = replace(told, notes=(*told.notes, note), unasked={**told.unasked, **unasked})
    wanted = [name for name in (call.optional if call else ()) if role(name) == "weights"]
    several = frozenset((*past, *flags) if past else ()) | frozenset(wanted)
    blueprint = replace(blueprint, arguments=told, several=several)
    return blueprint, blueprint.attempt(Config(sizes), None)


def with_output_first(
    blueprint: Blueprint, module: nn.Module, heads: int
) -> tuple[Blueprint, nn.Module]:
    """The same, or with the output first where forward returns something before it."""
    sizes = blueprint.sizes(heads)
    place = place_of_output(module, sizes)
    if not place:
        return blueprint, module
    note = f"of what forward returns, part {place} is judged: the output"
    told = replace(blueprint.arguments, notes=(*blueprint.arguments.notes, note))
    other = replace(blueprint, output=place, arguments=told)
    return other, other.attempt(Config(sizes), None)


def with_axes(blueprint: Blueprint, module: nn.Module, heads: int) -> tuple[Blueprint, nn.Module]:
    """The same, or with tensors of other axes than (B, T, E)."""
    sizes = blueprint.sizes(heads)
    if not isinstance(module, OnItself):
        return blueprint, module
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    axes = axes_of(module, x)
    if axes == blueprint.axes:
        return blueprint, module
    other = replace(blueprint, axes=axes)
    made = other.attempt(Config(sizes), None)
    if axes == "B 1 T E" and not mixes(made, x):
        return blueprint, module
    return other, other.attempt(Config(sizes), None)


def with_dropout(
    blueprint: Blueprint, module: nn.Module, heads: int
) -> tuple[Blueprint, nn.Module]:
    """The same, or with a module handed to an argument for dropout that is called in forward."""
    told = blueprint.arguments
    sizes = blueprint.sizes(heads)
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    if (
        not told.has("dropout")
        or "'float' object is not callable" not in trials.run(module, x).failure
    ):
        return blueprint, module
    note = f"{told.roles['dropout']} is given a torch.nn.Dropout"
    told = replace(told, dropped_by=True, notes=(*told.notes, note))
    blueprint = replace(blueprint, arguments=told)
    return blueprint, blueprint.attempt(Config(sizes), None)


def makes_squares(blueprint: Blueprint, heads: int) -> bool:
    """Whether what a factory makes runs where d_in is d_out, and not where they differ."""
    try:
        return gives_width(replace(blueprint, square=True), heads) and not gives_width(
            blueprint, heads
        )
    except QuestionError:
        return False


def gives_width(blueprint: Blueprint, heads: int) -> bool:
    """Whether a module gives rows as wide as d_out, or where that is one head's, as all of them."""
    sizes = blueprint.sizes(heads)
    module = blueprint.attempt(Config(sizes), None)
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    found = [trials.run(module, tensor).output for tensor in (x, x[0])]
    widths = (sizes.width, sizes.width * heads)
    return any(output is not None and output.shape[-1] in widths for output in found)


def check_width_argument(blueprint: Blueprint, module: nn.Module) -> None:
    """QuestionError if there are parameters but no argument for the width of the input."""
    if families.has_parameters(module) and not blueprint.arguments.has("d_in", "embed"):
        raise families.no_place(blueprint, "d_in", "the width of its input")
