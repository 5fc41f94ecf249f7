"""The zero adapter: any class in the manner of the sources, as it is.

Its arguments are matched by name, its matrices are found by name and turned by shape, its family
and what else it offers are found by building it and trying it out. A fault in it never costs it a
clause: where a trial fails, what the constructor says counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import nn

from properties.basics.dtypes import FORMATS
from properties.basics.errors import QuestionError, SubjectError
from properties.recognition.adapters import (
    another,
    arguments,
    calls,
    cosines,
    differential,
    distances,
    earlier_tokens,
    exclusive,
    families,
    forward_arguments,
    future_masks,
    given_values,
    kept_contexts,
    layers,
    masked_steps,
    messages,
    output_dropout,
    projections,
    qkv_function,
    restoring,
    trials,
    two_inputs,
)
from properties.recognition.adapters.as_function import as_function
from properties.recognition.adapters.blueprint import Blueprint, dropped_name
from properties.recognition.adapters.draft import Draft, found_in, random_weights, trial_config
from properties.recognition.adapters.first_build import first_build, with_output_alone
from properties.recognition.adapters.gates import with_open_gates
from properties.recognition.adapters.groups import fits, offer_groups
from properties.recognition.adapters.latent_finding import with_rolled_latents
from properties.recognition.adapters.loading import collect
from properties.recognition.adapters.matrices import offer_projections
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.adapters.norms import without_norms
from properties.recognition.adapters.probe import (
    offer_extras,
    offer_positions,
    offer_scale,
    require_attention,
)
from properties.recognition.adapters.projections import Structure
from properties.recognition.adapters.unbounded import without_bounds
from properties.recognition.adapters.unnamed import with_unnamed_layers
from properties.recognition.asking.roles import certain
from properties.recognition.asking.roles import role as role_of
from properties.recognition.turning import finding as turning
from properties.subjects.instance import complex_numbers
from properties.subjects.limits import Limits
from properties.subjects.subject import CAUSAL_FAMILIES, HEADED_FAMILIES, Config, Subject

SMALL_MASK = 64  # a mask of a fixed size may be shorter than the examples; one this long is not


def subject(
    target: Callable[..., Any],
    family: str | None = None,
    given: Mapping[str, Any] = MappingProxyType({}),
) -> Subject:
    """The subject that a class, or a factory of modules, is.

    Raises QuestionError where it cannot be asked: an argument without a meaning or with two, a
    constructor that raises, a forward that needs more than x, a family that it cannot be.
    """
    families.validate(family)
    chosen = family is not None
    blueprint, module = first_build(target, given)
    blueprint, module = with_rolled_latents(blueprint, module)
    blueprint, module = without_norms(blueprint, module)
    blueprint, module = turning.with_angles(blueprint, module)
    if blueprint.handed is not None and blueprint.several is None:
        blueprint, module = with_output_alone(blueprint, module, 2)
    blueprint, module = with_open_gates(blueprint, module, 2)
    blueprint, module = without_bounds(blueprint, module, 2)
    blueprint, module = with_unnamed_layers(blueprint, module)
    call = calls.forward_of(module, blueprint.owner, blueprint.target, blueprint.arguments.settings)
    structure = projections.find(module, blueprint.owner)
    if structure is None and (function := as_function(module, blueprint)) is not None:
        return qkv_function.subject(function, family)
    blueprint, family, remark = settle_family(blueprint, module, structure, family)
    told = blueprint.arguments
    notes = [*told.notes, remark] if remark else list(told.notes)
    if blueprint.handed is not None:
        notes.append(blueprint.handed.words)
    draft = Draft(family, matched=told.matched(), notes=notes, unasked=dict(told.unasked))
    module = blueprint.attempt(trial_config(blueprint, family), family)
    check_runs(blueprint, draft, module, structure)
    another.require_tokens(blueprint, module, structure, draft.family)
    check_mask(blueprint, draft, module, call)
    offer_arguments(draft, blueprint)
    offer_axes(draft, blueprint, module)
    blueprint = offer_groups(draft, blueprint)
    if family != "plain":
        blueprint = offer_projections(draft, blueprint, module)
        output_dropout.switch_off_residual(draft, blueprint, module)
    finished = ModuleSubject(blueprint, draft)
    if call.tokens:
        finished.tokens, finished.blanks = call.tokens, call.required[3:]
    note_complex(finished, module)
    offer_dtypes(finished)
    offer_heads(finished)
    differential.leave_weights(finished, module)
    offer_positions(finished, module)
    offer_scale(finished, module)
    offer_extras(finished, module)
    distances.require_none(finished, module)
    cosines.require_none(finished, module)
    exclusive.require_none(finished)
    restoring.offer(finished, module)
    earlier_tokens.offer_cache(finished, module, call)
    forward_arguments.offer_masks(finished, module, call)
    masked_steps.offer(finished, module, call)
    layers.offer(finished, module, call)
    kept_contexts.offer(finished, module, call)
    earlier_tokens.offer_padded_steps(finished)
    earlier_tokens.offer_start(finished, module, call)
    if not chosen:
        require_attention(finished)
    if call.context and "context" not in finished.takes and not certain(call.context):
        sizes = trial_config(blueprint, draft.family).sizes
        two_inputs.require_nothing_beside(module, blueprint.owner, call, sizes)
        if not two_inputs.of_the_past(module, blueprint.owner, call, sizes):
            raise calls.needs_more(
                blueprint.owner, call, blueprint.target, blueprint.arguments.settings
            )
    return finished


def note_complex(finished: ModuleSubject, module: nn.Module) -> None:
    """Say that complex numbers lose a part where `to` moves the module, which nothing here does."""
    finished.complex_numbers = tuple(complex_numbers(module))
    if finished.complex_numbers:
        names = messages.listed(finished.complex_numbers)
        finished.notes += (
            f"{names} is complex: to(dtype) would keep its real part alone; moved by double(), half() "
            "and the like, which leave it as it is",
        )


def offer_heads(finished: ModuleSubject) -> None:
    """Say that one head as wide as the input is left out, where it has no output projection."""
    if not (finished.has("own-head-dim") and finished.has("out-projection")):
        return
    sizes = replace(trial_config(finished.blueprint, finished.family).sizes, heads=1, groups=0)
    config = Config(replace(sizes, head_dim=sizes.d_in))
    with suppress(SubjectError, QuestionError):
        module = finished.blueprint.attempt(config, finished.family)
        structure = projections.find(module, finished.blueprint.owner)
        if structure is None or structure.out is None:
            finished.limits |= Limits(least_heads=2)
            note = "two heads or more are asked: one as wide as the input has no output projection"
            finished.notes += (note,)


def settle_family(
    blueprint: Blueprint, module: nn.Module, structure: Structure | None, family: str | None
) -> tuple[Blueprint, str, str]:
    """The family asked for, if the constructor allows it, or the one found, and a remark on it."""
    understood, found, remark = families.decide(blueprint, module, structure)
    if family is not None:
        families.check_override(blueprint, family, module)
        found, remark = family, ""
    if found == "wrapper" and not understood.arguments.has("d_out", "head_dim"):
        raise families.no_place(understood, "head_dim", "the width of one head")
    if ends_at_input_width(understood, found) or inside_input_width(understood, found):
        understood = replace(understood, square=True)
    return understood, found, remark


def ends_at_input_width(blueprint: Blueprint, family: str) -> bool:
    """Whether no argument is d_out and the output projection leads back to d_in."""
    if blueprint.square or blueprint.arguments.has("d_out"):
        return False
    config = trial_config(blueprint, family)
    found = projections.find(blueprint.attempt(config, family), blueprint.owner)
    back = {config.sizes.width, config.sizes.d_in}
    return found is not None and found.out is not None and set(found.out.weight.shape) == back


def inside_input_width(blueprint: Blueprint, family: str) -> bool:
    """Whether queries, keys and values are as wide as the input, and the output projection alone leads
    to d_out: all widths are one then, so that the examples fit.
    """
    if blueprint.square or not blueprint.arguments.has("d_out"):
        return False
    sizes = trial_config(blueprint, family).sizes
    found = projections.find(blueprint.attempt(Config(sizes), family), blueprint.owner)
    if found is None or found.out is None or sizes.d_in % sizes.heads:
        return False
    if set(found.out.weight.shape) != {sizes.d_in, sizes.width}:
        return False
    narrow = replace(sizes, head_dim=sizes.d_in // sizes.heads)
    return not fits(blueprint, family, sizes) and fits(blueprint, family, narrow)


def check_runs(blueprint: Blueprint, draft: Draft, module: nn.Module, structure: Any) -> None:
    """Note a forward that raises. QuestionError if it misses what only an unrun cell assigns or what
    this machine lacks; or if it may be called or built wrongly: its matrices are not understood, an
    argument that it needs is None by default or nobody knows, it takes an image, one query or one number
    of tokens, it mixes neighbours in an image, or its settings are not all known.
    """
    sizes = trial_config(blueprint, draft.family).sizes
    long = trials.random_input(sizes.batch, sizes.context_length, sizes.d_in)
    x = long[:, : sizes.tokens]
    found = [trials.run(module, tensor) for tensor in (x, x[0], long, long[0], long[:1])]
    failures = [trial.failure for trial in found]
    if not all(failures):
        return
    draft.notes.append(f"a trial run of forward failed: it {failures[0]}")
    if dropped_name(type(module), failures[0]):
        raise blueprint.refuse(f"{blueprint.owner}: forward {failures[0]}.")
    elsewhere = found[0].elsewhere
    if not elsewhere:
        another.require_all_queries(blueprint, module, draft.family)
        another.require_no_neighbours(blueprint, module)
    told = blueprint.arguments
    guessed = set(told.paths) - set(told.roles.values())  # settings that no example varies
    unsure = structure is None or bool(guessed) or lacks(module, failures[0])
    if taken := another.input_taken(module, sizes):
        unsure = True
        failures[0] += f"; it runs on {taken}"
    elif told.untold and not elsewhere:
        raise arguments.untold(told, blueprint.target, failures[0])
    if elsewhere or (unsure and failures[0].startswith("raised")):
        tried = "random float32 input on the CPU, (B, T, d_in), (T, d_in), T = context_length"
        raise messages.refusal(
            f"{blueprint.owner} gives no output for {tried}: forward {failures[0]}.",
            "a tensor for an input (B, T, d_in) or (T, d_in)",
            "run it where what it needs is there"
            if elsewhere
            else "name a module that hands forward what it wants, made of x, and gives (B, T, d_out):",
            "" if elsewhere else around(blueprint),
        )


def around(blueprint: Blueprint) -> str:
    """A module around one that does not run on tokens alone."""
    given = blueprint.owner, blueprint.target, "...", blueprint.arguments.settings
    return messages.shell(*given, ["what forward takes"])


def lacks(module: nn.Module, failure: str) -> bool:
    """Whether a failure is about None, which some argument of forward is where it is not given; a mask
    aside, which may always be left out.
    """
    call = calls.of_forward(calls.inside(module))
    optional = call.optional if call else ()
    return "NoneType" in failure and any(role_of(name) not in calls.MASKS for name in optional)


def check_mask(blueprint: Blueprint, draft: Draft, module: nn.Module, call: calls.Call) -> None:
    """QuestionError where forward wants a mask from outside, or keeps one of a size of its own."""
    unasked = calls.unasked_of_forward(call, blueprint.masks, blueprint.values)
    # those of a call before those of the constructor, for what nobody knows is named first
    draft.unasked = unasked | {n: t for n, t in draft.unasked.items() if n not in unasked}
    if call.context:
        draft.own_context = call.context
        draft.unasked[call.context] = "other tokens to attend to: it is always the input"
    made = given_values.words(blueprint.values) if blueprint.values else {}
    draft.notes += [
        f"{name} is required: {text} where a call says nothing" for name, text in made.items()
    ]
    if others := [n for n in call.further if n not in draft.unasked and n not in made]:
        draft.notes.append(f"forward keeps its defaults for {messages.listed(others)}")
    if draft.family not in CAUSAL_FAMILIES:
        told_nothing(blueprint, draft, call)
        return
    size = families.mask_size(module)
    future = families.trial_future(module, trial_config(blueprint, draft.family).sizes)
    if call.masks and size is None and future == "all":
        other = "encoder" if draft.family in HEADED_FAMILIES else "self"
        told, sizes = blueprint.arguments, trial_config(blueprint, draft.family).sizes
        hiding = future_masks.that_hides(module, call.masks, sizes)
        raise calls.needs_mask(
            blueprint.owner, call, blueprint.target, other, told.settings, hiding
        )
    if size is not None and size < SMALL_MASK and not blueprint.arguments.has("context_length"):
        raise families.no_place(
            blueprint, "context_length", f"the size of its mask, which is always {size} x {size}"
        )
    headed = draft.family in HEADED_FAMILIES and not blueprint.arguments.has("context_length")
    if size is None and future == "all" and headed:
        draft.notes.append(f"nothing hides the future, which the family {draft.family} asks for")


def told_nothing(blueprint: Blueprint, draft: Draft, call: calls.Call) -> None:
    """Say of an argument of the constructor for causality that it hides nothing of a call with x alone."""
    name = blueprint.arguments.roles.get("causal")
    if name is None or not call.masks:
        return
    config = trial_config(blueprint, draft.family)
    if families.trial_future(blueprint.attempt(config, None), config.sizes) == "all":
        draft.unasked[name] = "whether the future is hidden: with x alone, none of it is"


def offer_arguments(draft: Draft, blueprint: Blueprint) -> None:
    """Claim what the constructor can be told."""
    draft.capabilities.add("module")
    if draft.family == "plain":
        return
    if blueprint.arguments.has("num_heads") and blueprint.arguments.has("head_dim"):
        draft.capabilities.add("own-head-dim")
    for role, capability in arguments.OPTIONAL.items():
        reason = f"no argument of the constructor is called {arguments.spellings(role)} or alike"
        told = blueprint.arguments
        there = name = told.biases if role == "qkv_bias" else told.roles.get(role, "")
        if name and name == blueprint.block:
            reason = f"{name} is of blocks or a window: no more tokens than one has are asked about"
            there = ""
        draft.settle(capability, bool(there), reason)
    reason = "one argument of the constructor is d_in and d_out"
    if blueprint.arguments.has("d_in"):
        reason = "a d_in that is not d_out is refused, or makes a module of one width"
    draft.settle("rectangular", not blueprint.square, reason)
    if blueprint.arguments.has("d_context"):
        draft.capabilities.add("context-width")


def offer_axes(draft: Draft, blueprint: Blueprint, module: nn.Module) -> None:
    """Claim "batched" and "unbatched": heads and masks come with batches unless these are refused,
    the rest is tried.
    """
    sizes = trial_config(blueprint, draft.family).sizes
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    if (
        draft.family in CAUSAL_FAMILIES | HEADED_FAMILIES
        and trials.run(module, x).output is not None
    ):
        draft.capabilities.add("batched")
        return
    batched, unbatched, remark = trials.batches(module, x)
    draft.settle("batched", batched, remark or "a batch (B, T, d_in) is refused")
    draft.settle("unbatched", unbatched, "one sequence (T, d_in) is refused")
    if remark:
        draft.notes.append(remark)


def offer_dtypes(finished: ModuleSubject) -> None:
    """Claim the formats in which a forward runs; note why the others are lost."""
    config = trial_config(finished.blueprint, finished.family)
    sizes = config.sizes
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    asked = [n for n in FORMATS if not (finished.blueprint.uncapped and n == "float16")]
    exact = tuple(name for name in asked if arrives(finished, replace(config, dtype=name)))
    finished.dtypes, remarks = trials.usable_dtypes(
        lambda name: finished.build(replace(config, dtype=name), None),
        x if finished.has("batched") else x[0],
        exact,
    )
    lost = [
        f"not asked in {name}: no exact weights can be set" for name in asked if name not in exact
    ]
    if finished.blueprint.uncapped:
        lost.append("not asked in float16: it has no bound that leaves all scores as they are")
    finished.notes += (*lost, *remarks)


def arrives(subject: ModuleSubject, config: Config) -> bool:
    """Whether computed weights are read back in this format exactly as they were written."""
    if not subject.has("projections"):
        return True
    given = random_weights(config.sizes)
    module = subject.build(config, given)
    structure = found_in(module, subject.blueprint.owner, subject.has("out-projection"))
    if not any(cell.derived for cell in structure.all_cells()):
        return True
    read = collect(structure, lambda own: own.detach(), config.sizes, subject.scheme)
    return all(
        np.array_equal(getattr(read, role), getattr(given, role)) for role in structure.cells
    )
