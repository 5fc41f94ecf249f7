"""The dropout of the output, which would be taken for one of the weights: found, switched off and told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from properties.recognition.adapters import messages, projections, trials
from properties.recognition.adapters.blueprint import Blueprint
from properties.recognition.adapters.draft import Draft, trial_config

KEPT = 0.296875  # a probability that no other number in a module is


def switch_off_residual(draft: Draft, blueprint: Blueprint, module: nn.Module) -> None:
    """Find the dropout of the output, which would be taken for one of the weights.

    Those `nn.Dropout` modules that are called after the output projection and never before it, also where
    there are none as long as nothing is dropped. One that drops weights and the output alike is no second
    one.
    """
    if blueprint.arguments.has("dropout"):
        module = dropping_module(draft, blueprint)
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
    module = dropping_module(draft, blueprint)
    dropping = {n for n, layer in module.named_modules() if isinstance(layer, nn.Dropout)}
    kept = (value for part in module.modules() for value in vars(part).values())
    numbers = [value for value in kept if isinstance(value, float) and value == KEPT]
    return dropping == set(draft.residual) and len(numbers) == len(draft.residual)


def dropping_module(draft: Draft, blueprint: Blueprint) -> nn.Module:
    """A module for a trial whose constructor is told a probability above zero."""
    config = replace(trial_config(blueprint, draft.family), dropout=KEPT)
    return blueprint.attempt(config, draft.family)
