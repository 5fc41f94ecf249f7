"""The masks and contexts that forward takes beside x: what trials confirm is claimed, the rest told."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

from torch import Tensor, nn

from properties.recognition.adapters import calls, trials
from properties.recognition.adapters.draft import trial_config
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.asking import corners, module_finding, module_trials
from properties.recognition.asking.caches import all_that_comes
from properties.recognition.asking.modules import ModuleManner
from properties.recognition.asking.roles import role as role_of
from properties.recognition.turning import contexts
from properties.subjects.call import ANSWERS, ROLES
from properties.subjects.subject import CAUSAL_FAMILIES
from properties.truth.parameters import Sizes

RESAMPLES = re.compile(r"perceiver|resampler|latents?", re.IGNORECASE)


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
        if not alone and "context" not in found.takes:  # x is its own context, and masks are of x
            found = take(width, alone=True)
        if width and "context" not in found.takes:
            as_wide_as_x = take(0)
            if "context" in as_wide_as_x.takes:
                found, width = as_wide_as_x, 0
                keep_to_one_width(finished)
        found = without_flag(finished, found)
        note_lost_rows(finished, found)
        found = without_joined_context(finished, found, call, width)
    if "context" in found.takes:
        found = replace(found, takes={**found.takes, "lengths": ""})
    found = with_what_is_hidden(finished, found, module, call, width)
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
    if found.always and further_results(module, sizes) == 1:
        asked |= {"further results"}
    finished.unasked = {n: text for n, text in finished.unasked.items() if n not in asked}


def with_what_is_hidden(
    finished: ModuleSubject,
    found: ModuleManner,
    module: nn.Module,
    call: calls.Call,
    d_context: int,
) -> ModuleManner:
    """With what is hidden by a causal flag of forward, or of a context by one of the constructor."""
    sizes = trial_config(finished.blueprint, finished.family).sizes
    asked = corners.Corners(finished.build, sizes, d_context)
    note_mask_in_place(finished, found, asked)
    if finished.family in CAUSAL_FAMILIES and finished.blueprint.arguments.has("causal"):
        found = corners.by_itself(found, asked)
        if found.conventions.align in ("top left", "bottom right"):
            finished.capabilities |= {"always causal"}
        return found
    flag = calls.causal_flag(module)
    if flag is None:
        return found
    found, why = corners.with_flag(
        found, call.further, asked, required=bool(call.context), meant=flag.default is True
    )
    if why and flag.name in finished.unasked:
        text = f"{ROLES['causal']}: {why}"
        finished.unasked = {**finished.unasked, flag.name: text}
    return found


def note_mask_in_place(
    finished: ModuleSubject, found: ModuleManner, asked: corners.Corners
) -> None:
    """Of a mask of pairs that takes the place of hiding the future, as transformers has it: who hands one
    over hides the future by it. A mask of keys cannot, and must not show it.
    """
    told = found.takes
    if {"padding", "causal"} & told.keys() or finished.family not in CAUSAL_FAMILIES:
        return
    if asked.gives_way(found):
        finished.capabilities |= {"mask in place of the future"}
        mask = told.get("mask") or told["bias"]
        finished.notes += (f"{mask} takes the place of hiding the future, which is hidden without",)


def further_results(module: nn.Module, sizes: Sizes) -> int:
    """How many tensors forward returns beside its output."""
    with all_that_comes(module):
        returned = trials.run(module, trials.random_input(sizes.batch, sizes.tokens, sizes.d_in))
    return sum(isinstance(part, Tensor) for part in returned.returned) - 1


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


def note_lost_rows(finished: ModuleSubject, found: ModuleManner) -> None:
    """Of a padding mask by which tokens that are padding see nothing themselves: what they give is left to
    each module.
    """
    if "padding" not in found.takes or not found.conventions.padding:
        return
    if trial_of(finished).loses_its_own_rows(found):
        finished.capabilities |= {"padding sees nothing"}
        text = "a query that is padding itself sees no other token: what it gives is not asked"
        finished.notes += (text,)


def without_joined_context(
    finished: ModuleSubject, found: ModuleManner, call: calls.Call, d_context: int
) -> ModuleManner:
    """Without a context beside which x attends to itself as well, where a name says that this is meant: the
    latents of a resampler see themselves besides what they read. Elsewhere it is an error.
    """
    names = (finished.blueprint.owner, *call.required[:1])
    if "context" not in found.takes or not any(map(RESAMPLES.search, names)):
        return found
    sizes = trial_config(finished.blueprint, finished.family).sizes
    if not module_trials.CrossTrial(finished.build, sizes, d_context).joins(found):
        return found
    context = found.takes["context"]
    why = "other tokens to attend to: x attends to itself beside them, as is meant here"
    finished.unasked = {**finished.unasked, context: why}
    of_x = {role: name for role, name in found.takes.items() if "context" not in role}
    return replace(found, takes=of_x)


def trial_of(finished: ModuleSubject) -> module_trials.Trial:
    """Calls of the module at the sizes of a first trial."""
    sizes = trial_config(finished.blueprint, finished.family).sizes
    return module_trials.Trial(finished.build, sizes)


def without(
    finished: ModuleSubject, found: ModuleManner, argument: str, why: str, **conventions: str
) -> ModuleManner:
    """What was found without an argument, which is told as not asked about."""
    finished.unasked = {**finished.unasked, argument: why}
    kept = {role: name for role, name in found.takes.items() if name != argument}
    return replace(found, takes=kept, conventions=replace(found.conventions, **conventions))
