"""The zero adapter: any class in the manner of the sources, as it is.

Its arguments are matched by name, its matrices are found by name and turned by shape, its family
and what else it offers are found by building it and trying it out. A fault in it never costs it a
clause: where a trial fails, what the constructor says counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from properties.basics.dtypes import FORMATS, Array
from properties.basics.errors import QuestionError, SubjectError
from properties.recognition.adapters import (
    another,
    arguments,
    calls,
    cosines,
    distances,
    exclusive,
    extras,
    families,
    future_masks,
    messages,
    projections,
    qkv_function,
    restoring,
    trials,
)
from properties.recognition.adapters.blueprint import Blueprint, dropped_name
from properties.recognition.adapters.draft import Draft, found_in, random_weights, trial_config
from properties.recognition.adapters.first_build import (
    first_build,
    with_output_alone,
)
from properties.recognition.adapters.gates import with_open_gates
from properties.recognition.adapters.groups import fits, offer_groups
from properties.recognition.adapters.loading import collect, load
from properties.recognition.adapters.matrices import offer_projections
from properties.recognition.adapters.norms import without_norms
from properties.recognition.adapters.probe import (
    offer_extras,
    offer_positions,
    offer_scale,
    require_attention,
)
from properties.recognition.adapters.projections import Structure
from properties.recognition.adapters.unbounded import without_bounds
from properties.recognition.asking import cache_finding, module_finding
from properties.recognition.asking.caches import CacheManner, State
from properties.recognition.asking.modules import PLAINLY, ModuleManner
from properties.recognition.asking.roles import certain
from properties.recognition.asking.roles import role as role_of
from properties.recognition.turning import contexts
from properties.recognition.turning import finding as turning
from properties.recognition.turning.handed import handed_to
from properties.subjects import results
from properties.subjects.call import ANSWERS, Answer, Arguments, Handing, Inputs, Seen
from properties.subjects.instance import complex_numbers, in_eval, in_format
from properties.subjects.limits import Limits
from properties.subjects.restored import Restored
from properties.subjects.subject import (
    CAUSAL_FAMILIES,
    HEADED_FAMILIES,
    Config,
    Subject,
)
from properties.truth.parameters import Weights

KEPT = 0.296875  # a probability that no other number in a module is
LONG = 32  # tokens that fit into what a cache is tried with
SMALL_MASK = 64  # a mask of a fixed size may be shorter than the examples; one this long is not


class ModuleSubject(Subject):
    """A torch module whose constructor and matrices are understood."""

    def __init__(self, blueprint: Blueprint, draft: Draft) -> None:
        """Take over what the draft has found out."""
        self.name = blueprint.owner
        self.family = draft.family
        self.capabilities = frozenset(draft.capabilities)
        self.matched = draft.matched
        self.lacking = draft.lacking
        self.unasked = draft.unasked
        self.notes = tuple(draft.notes)
        self.blueprint = blueprint
        self.scheme = draft.scheme
        self.residual = draft.residual
        self.complex_numbers: tuple[str, ...] = ()
        self.own_context = draft.own_context
        self.spare_biases = draft.spare_biases
        self.manner = ModuleManner()
        self.tokens: tuple[str, ...] = ()  # arguments for queries, keys and values, where all three
        self.blanks: tuple[str, ...] = ()  # have to be given, and others, which may be None
        self.remembering = CacheManner()
        self.normed: tuple[str, ...] = ()  # the paths of norms of queries and keys that are at work
        self.switches: dict[str, str] = {}  # the argument or tensor for each part of `Restored`
        self.window_counts_oneself = False
        self.padded_whole = True  # whether a step is told of all tokens so far which are padding
        self.built = lru_cache(maxsize=4)(self.blank)  # gradients of one case are collected often

    def build(self, config: Config, weights: Weights | None) -> nn.Module:
        """A new module in the config's dtype; SubjectError if a matrix has not the size needed."""
        module = self.blueprint.construct(config, self.family)
        module = in_format(module, getattr(torch, config.dtype))  # weights are rounded once
        for path in self.residual:
            module.get_submodule(path).p = 0.0  # type: ignore[assignment]
        self.fill(module, config, weights)
        return module

    def ask(self, module: nn.Module, inputs: Inputs, arguments: Arguments, dtype: str) -> Answer:
        """The answer of forward, told masks as it takes them."""
        return self.held.ask(module, inputs, arguments, dtype)

    def ask_in(
        self, module: nn.Module, inputs: Inputs, arguments: Arguments, dtype: str, handing: Handing
    ) -> Answer:
        """The same in training, or with gradients recorded."""
        return self.held.ask(module, inputs, arguments, dtype, handing)

    def module_gradient(
        self, module: nn.Module, inputs: Inputs, arguments: Arguments, upstream: Array, dtype: str
    ) -> Array:
        """By x, of such a call."""
        return self.held.gradients(module, inputs, arguments, upstream, dtype)["x"]

    @property
    def held(self) -> ModuleManner:
        """How forward is called by the conventions that it is held to."""
        return replace(self.manner, conventions=self.conventions)

    def context_gradients(
        self, module: nn.Module, inputs: Inputs, arguments: Arguments, upstream: Array, dtype: str
    ) -> dict[str, Array]:
        """By x and the context, as backward() leaves them."""
        return self.held.gradients(module, inputs, arguments, upstream, dtype)

    def begin(self, module: nn.Module, batch: int) -> State:
        """Before the first token; what the module has kept is forgotten if it can be."""
        return self.remembering.begin(module)

    def step(self, module: nn.Module, state: State, x: Array, dtype: str) -> tuple[Array, State]:
        """The output for the next tokens, and the state after them."""
        return self.remembering.step(module, state, x, dtype)

    def step_padded(
        self, module: nn.Module, state: State, x: Array, real: Seen, dtype: str
    ) -> tuple[Array, State]:
        """The same, told which tokens are padding: of all so far, or of these alone, as it is taken."""
        told = real if self.padded_whole else real[:, -x.shape[1] :]
        roles = {**PLAINLY, "causal": ""}  # a flag keeps its default
        further = self.held.options(Arguments(padding=told), getattr(torch, dtype), roles)
        return self.remembering.step(module, state, x, dtype, further)

    def restoring(self, what: Restored) -> ModuleSubject:
        """The same with it at work."""
        return restoring.restored(self, what)

    def with_norms(self) -> ModuleSubject:
        """The same with its norms where they stand."""
        other = restoring.rebuilt(self, replace(self.blueprint, taken_out=()))
        other.normed = self.blueprint.taken_out
        return other

    def norms(self, module: nn.Module, x: Array, dtype: str) -> dict[str, list[Array]]:
        """What goes into each norm that is taken out elsewhere, and what comes out of it."""
        found: dict[str, list[Array]] = {path: [] for path in self.normed}
        for path, kept in found.items():
            module.get_submodule(path).register_forward_hook(restoring.noting(kept))
        with torch.no_grad():
            in_eval(module)(torch.tensor(x, dtype=getattr(torch, dtype)))
        return found

    def fill(self, module: nn.Module, config: Config, weights: Weights | None) -> None:
        """Write the weights, if there are any and they can be set, into a module built before."""
        if weights is not None and self.has("projections"):
            structure = found_in(module, self.blueprint.owner, self.has("out-projection"))
            load(structure, weights, config.sizes, self.scheme)
            extras.fill(module, self.extras)

    def refill(self, module: nn.Module, config: Config, weights: Weights | None) -> bool:
        """The same with other weights."""
        self.fill(module, config, weights)
        return True

    def collect(self, named: Mapping[str, Array], config: Config) -> Weights | None:
        """Arrays by the names of the module's parameters, in our layout; None without projections."""
        if not self.has("projections"):
            return None
        module, structure = self.built(config)
        if any(cell.derived for cell in structure.all_cells()):
            return None  # what comes back to the parameters is not the gradient of the weights
        owners = {projections.place(p): (name, p) for name, p in module.named_parameters()}

        def replaced(own: Tensor) -> Tensor:
            """What `named` has in place of a parameter or a view of one; zeros if it is none."""
            if projections.place(own) not in owners:
                return torch.zeros(own.shape)
            name, parameter = owners[projections.place(own)]
            whole = torch.tensor(named[name])
            # A view's strides count in the parameter's memory, which may be that of a transpose.
            laid = torch.empty_strided(whole.shape, parameter.stride(), dtype=whole.dtype)
            offset = own.storage_offset() - parameter.storage_offset()
            return laid.copy_(whole).as_strided(own.shape, own.stride(), offset)

        return collect(structure, replaced, config.sizes, self.scheme)

    def blank(self, config: Config) -> tuple[nn.Module, Structure]:
        """A module of these sizes, for the sake of its structure."""
        module = self.blueprint.construct(config, self.family)
        return module, found_in(module, self.blueprint.owner, self.has("out-projection"))


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
    blueprint, module = without_norms(blueprint, module)
    blueprint, module = turning.with_angles(blueprint, module)
    if blueprint.handed is not None and blueprint.several is None:
        blueprint, module = with_output_alone(blueprint, module, 2)
    blueprint, module = with_open_gates(blueprint, module, 2)
    blueprint, module = without_bounds(blueprint, module, 2)
    call = calls.forward_of(module, blueprint.owner, blueprint.target, blueprint.arguments.settings)
    structure = projections.find(module, blueprint.owner)
    if structure is None and call.tokens and takes_heads(module, blueprint):
        return qkv_function.subject(of_heads(module, blueprint.owner), family)
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
        switch_off_residual(draft, blueprint, module)
    finished = ModuleSubject(blueprint, draft)
    if call.tokens:
        finished.tokens, finished.blanks = call.tokens, call.required[3:]
    note_complex(finished, module)
    offer_dtypes(finished)
    offer_heads(finished)
    offer_positions(finished, module)
    offer_scale(finished, module)
    offer_extras(finished, module)
    distances.require_none(finished, module)
    cosines.require_none(finished, module)
    exclusive.require_none(finished)
    restoring.offer(finished, module)
    offer_cache(finished, module, call)
    offer_masks(finished, module, call)
    offer_padded_steps(finished)
    offer_start(finished, module, call)
    if not chosen:
        require_attention(finished)
    if call.context and "context" not in finished.takes and not certain(call.context):
        raise calls.needs_more(
            blueprint.owner, call, blueprint.target, blueprint.arguments.settings
        )
    return finished


def takes_heads(module: nn.Module, blueprint: Blueprint) -> bool:
    """Whether a module of queries, keys and values that has no matrices wants these with an axis of heads:
    then it is asked as a function is.
    """
    if families.has_parameters(module):
        return False
    sizes = blueprint.sizes(2)
    x = trials.random_input(sizes.batch, sizes.tokens, 4)
    if trials.run(module, x).output is not None:
        return False
    heads = x[:, None].expand(-1, 2, -1, -1)
    inner = in_eval(calls.inside(module))
    found = trials.call(lambda *parts: results.output_in(inner(*parts), heads), *[heads] * 3)
    return found.output is not None


def of_heads(module: nn.Module, name: str) -> qkv_function.Function:
    """Such a module as a function, in eval mode."""
    return qkv_function.understand(in_eval(calls.inside(module)).forward, name)


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


def offer_cache(finished: ModuleSubject, module: nn.Module, call: calls.Call) -> None:
    """Claim the cache of earlier keys and values that a trial goes on from."""
    if finished.family not in CAUSAL_FAMILIES:  # what is cached is the past
        text = "keys and values of earlier tokens: nothing hides the future, so nothing is past"
        left = dict.fromkeys(cache_finding.signs(module), text)
        finished.unasked = {**finished.unasked, **left}
        return
    names = (*call.optional, *sorted(handed_to(module)))
    if not cache_finding.exists(names, module):
        return
    sizes = replace(trial_config(finished.blueprint, finished.family).sizes, context_length=LONG)
    weights = random_weights(sizes) if finished.has("projections") else None
    trial = cache_finding.Trial(
        lambda dtype: finished.build(Config(sizes, dtype=dtype), weights), sizes
    )
    found = trial.manner(names, module)
    if found is None:
        text = "keys and values of earlier tokens: no trial with 3 tokens, then 1, then 1 went on"
        left = dict.fromkeys(cache_finding.signs(module), text)
        finished.unasked = {**finished.unasked, **left}
        return
    finished.remembering, finished.cache = found, found.words
    finished.capabilities |= found.offers
    finished.cached_in = tuple(
        d for d in finished.dtypes if trial.steps(found, dtype=d) is not None
    )
    finished.notes += tuple(
        f"the cache is not asked in {dtype}: a step raises there"
        for dtype in finished.dtypes
        if dtype not in finished.cached_in
    )
    if found.in_slots and trial.cut(found):
        finished.differentiable = False
        reason = "keys and values are read out of slots that gradients do not come through"
        finished.lacking = {**finished.lacking, "gradients": reason}
    finished.unasked = {n: text for n, text in finished.unasked.items() if n not in found.arguments}


def offer_padded_steps(finished: ModuleSubject) -> None:
    """Claim a mask of keys beside a cache, and say that other masks are asked about one at a time."""
    if not finished.cache:
        return
    if "padding" in finished.takes and takes_padded_steps(finished):
        finished.capabilities |= {"padding beside a cache"}
    roles = ("mask", "bias", "padding")
    masks = dict.fromkeys(finished.takes[role] for role in roles if role in finished.takes)
    if finished.has("padding beside a cache"):
        masks.pop(finished.takes["padding"])
    if masks:
        finished.notes += (f"not asked: {messages.listed(masks)} beside cached keys and values",)


def takes_padded_steps(finished: ModuleSubject) -> bool:
    """Whether steps run that are told which of all tokens so far are padding, or else which of their own
    are; nothing is said of what they give.
    """
    sizes = replace(trial_config(finished.blueprint, finished.family).sizes, context_length=LONG)
    weights = random_weights(sizes)
    trial = cache_finding.Trial(
        lambda dtype: finished.build(Config(sizes, dtype=dtype), weights), sizes
    )
    for whole in (True, False):
        finished.padded_whole = whole
        if trial.padded(finished.begin, finished.step_padded):
            return True
    return False


def offer_start(finished: ModuleSubject, module: nn.Module, call: calls.Call) -> None:
    """Claim that a call may say where its first token stands, where no cache says it."""
    positions = finished.positions
    kept = finished.cache or cache_finding.signs(module)
    if positions is None or not positions.known or kept:
        return
    if name := turning.start(finished, finished.build, module, call.optional):
        finished.takes = {**finished.takes, "start": name}
        finished.manner = replace(finished.manner, takes=finished.takes)
        finished.unasked = {n: text for n, text in finished.unasked.items() if n != name}


def offer_masks(finished: ModuleSubject, module: nn.Module, call: calls.Call) -> None:
    """Claim the masks and the context that forward takes from outside, in the formats in which they can
    be given.
    """
    if not finished.has("projections"):
        return
    sizes, alone = trial_config(finished.blueprint, finished.family).sizes, not call.context
    width = sizes.d_in + 1 if finished.has("context-width") else 0
    names = [*call.required[1:], *call.optional]
    if finished.positions is not None:
        names = without_placed_contexts(finished, names)
    if call.tokens:
        # torch's own module has a faster path where none are, which paths/ holds against the other
        recording = any(isinstance(part, nn.MultiheadAttention) for part in module.modules())
        found = module_finding.with_tokens(
            call.further, call.tokens, finished.build, sizes, recording=recording
        )
        finished.modes = True
    else:
        take = partial(
            module_finding.manner,
            names,
            finished.build,
            sizes,
            alone=alone,
            batched=finished.has("batched"),
        )
        found = take(width)
        if width and "context" not in found.takes:
            as_wide_as_x = take(0)
            if "context" in as_wide_as_x.takes:
                found, width = as_wide_as_x, 0
                keep_to_one_width(finished)
        found = without_lost_rows(finished, without_flag(finished, found))
    if "context" in found.takes:
        found = replace(found, takes={**found.takes, "lengths": ""})
    if not found.takes:
        return
    kept = module_finding.usable(found, finished.build, sizes, finished.dtypes, width)
    lost = [dtype for dtype in finished.dtypes if dtype not in kept]
    given = " or ".join(filter(None, dict.fromkeys(found.takes.values())))
    finished.notes += tuple(
        f"not asked in {dtype}: there a call with {given} raises" for dtype in lost
    )
    finished.dtypes = tuple(kept) or finished.dtypes
    finished.manner, finished.takes, finished.conventions = found, found.takes, found.conventions
    finished.origins = {
        n: module_finding.known_by(n, call.further) if call.tokens else "trial"
        for n in ANSWERS
        if getattr(found.conventions, n)
    }
    asked = set(found.takes.values())
    finished.unasked = {n: text for n, text in finished.unasked.items() if n not in asked}


def keep_to_one_width(finished: ModuleSubject) -> None:
    """Ask about a context as wide as x alone, where one that is as wide as the constructor says raises."""
    finished.capabilities -= {"context-width"}
    finished.notes += ("a context of another width than x raises: one as wide as x is asked about",)


def without_placed_contexts(finished: ModuleSubject, names: list[str]) -> list[str]:
    """The names without those of a context of which no trial tells at which positions its tokens stand:
    they are told as not asked about.
    """
    kept = []
    for name in names:
        if role_of(name) != "context":
            kept.append(name)
        elif way := contexts.met(finished, finished.build, name):
            finished.placed = way
            finished.capabilities |= contexts.OFFERS[way]
            kept.append(name)
        elif name in finished.unasked:
            finished.unasked = {**finished.unasked, name: contexts.UNKNOWN}
    return kept


def without_flag(finished: ModuleSubject, found: ModuleManner) -> ModuleManner:
    """Without a mask that hides the future whatever is in it, where nothing does without it: a flag."""
    mask = found.takes.get("mask")
    if mask is None or found.conventions.mask or finished.family in CAUSAL_FAMILIES:
        return found
    if not trial_of(finished).is_flag(found):
        return found
    text = "which keys a query sees: with any mask the future is hidden, and nothing else"
    return without(finished, found, mask, text, empty="")


def without_lost_rows(finished: ModuleSubject, found: ModuleManner) -> ModuleManner:
    """Without a padding mask by which tokens that are padding see nothing themselves: what they give is
    left to each module, and the examples ask it.
    """
    padding = found.takes.get("padding")
    if padding is None or not found.conventions.padding:
        return found
    if not trial_of(finished).loses_its_own_rows(found):
        return found
    text = "which keys are padding: a query that is padding itself sees nothing, which is not asked"
    return without(finished, found, padding, text, padding="")


def trial_of(finished: ModuleSubject) -> module_finding.Trial:
    """Calls of the module at the sizes of a first trial."""
    sizes = trial_config(finished.blueprint, finished.family).sizes
    return module_finding.Trial(finished.build, sizes)


def without(
    finished: ModuleSubject, found: ModuleManner, argument: str, why: str, **conventions: str
) -> ModuleManner:
    """What was found without an argument, which is told as not asked about."""
    finished.unasked = {**finished.unasked, argument: why}
    kept = {role: name for role, name in found.takes.items() if name != argument}
    return replace(found, takes=kept, conventions=replace(found.conventions, **conventions))


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
            "run it where what it needs is there" if elsewhere else "name a module or an adapter:",
            "" if elsewhere else blueprint.way_out(),
        )


def lacks(module: nn.Module, failure: str) -> bool:
    """Whether a failure is about None, which some argument of forward is where it is not given; a mask
    aside, which may always be left out.
    """
    call = calls.of_forward(calls.inside(module))
    optional = call.optional if call else ()
    return "NoneType" in failure and any(role_of(name) not in calls.MASKS for name in optional)


def check_mask(blueprint: Blueprint, draft: Draft, module: nn.Module, call: calls.Call) -> None:
    """QuestionError where forward wants a mask from outside, or keeps one of a size of its own."""
    draft.unasked |= calls.unasked(call.further)
    if call.context:
        draft.own_context = call.context
        draft.unasked[call.context] = "other tokens to attend to: it is always the input"
    if others := [name for name in call.further if name not in draft.unasked]:
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
        draft.settle(capability, blueprint.arguments.has(role), reason)
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


def switch_off_residual(draft: Draft, blueprint: Blueprint, module: nn.Module) -> None:
    """Find the dropout of the output, which would be taken for one of the weights.

    Those `nn.Dropout` modules that are called after the output projection and never before it. One
    that drops weights and the output alike is no second one.
    """
    structure = projections.find(module, blueprint.owner)
    layers = dict(module.named_modules())
    last = None if structure is None or structure.out is None else structure.out.path
    projection = layers.get((last or "").removesuffix(".weight"))
    droppings = {layer: name for name, layer in layers.items() if isinstance(layer, nn.Dropout)}
    if projection is None or not droppings:
        return
    called: list[nn.Module] = []

    def note(layer: nn.Module, *arguments: Any) -> None:
        called.append(layer)

    hooks = [layer.register_forward_hook(note) for layer in (projection, *droppings)]
    sizes = trial_config(blueprint, draft.family).sizes
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    trials.run(module, x)
    for hook in hooks:
        hook.remove()
    at = called.index(projection) if projection in called else len(called)
    after = [layer for layer in droppings if layer in called[at:] and layer not in called[:at]]
    draft.residual = tuple(droppings[layer] for layer in after)
    if draft.residual:
        names = messages.listed(draft.residual)
        draft.notes.append(f"switched off: {names}, which drops numbers of the output, not weights")
        if no_other_dropout(draft, blueprint):
            draft.capabilities.discard("dropout")
            name = blueprint.arguments.roles["dropout"]
            draft.lacking["dropout"] = f"{name} is for {names} alone"
            draft.unasked[name] = f"dropout of the output alone, by {names}: it is 0"


def no_other_dropout(draft: Draft, blueprint: Blueprint) -> bool:
    """Whether nothing in a module but the dropout of the output has the probability that its constructor is
    told: neither another layer that drops, nor a number that is kept for a kernel.
    """
    if "dropout" not in draft.capabilities:
        return False
    config = replace(trial_config(blueprint, draft.family), dropout=KEPT)
    module = blueprint.attempt(config, draft.family)
    dropping = {n for n, layer in module.named_modules() if isinstance(layer, nn.Dropout)}
    kept = (value for part in module.modules() for value in vars(part).values())
    numbers = [value for value in kept if isinstance(value, float) and value == KEPT]
    return dropping == set(draft.residual) and len(numbers) == len(draft.residual)


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
