"""Several layers that share one cache: claimed where the cache keeps them apart by their index."""

from __future__ import annotations

import dis
import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from properties.basics import interrupts
from properties.recognition.adapters import calls, earlier_tokens
from properties.recognition.adapters.draft import random_weights
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.adapters.spellings import argument_role
from properties.recognition.asking.cache_finding import tensors
from properties.recognition.asking.holders import Holder
from properties.subjects.subject import Config

LAYER = "layer"


def offer(finished: ModuleSubject, module: nn.Module, call: calls.Call) -> None:
    """Claim that layers share a cache which the caller makes, where each is told its index, the cache
    keeps them apart, and steps of two of them run.

    A cache that knows nothing of layers may be meant for one alone.
    """
    manner = finished.remembering
    if not manner.past or manner.held_by_caller:
        return
    finished.layer = next((name for name in call.optional if argument_role(name) == LAYER), "")
    if not finished.layer and LAYER not in finished.blueprint.arguments.roles:
        return
    past, counts = after_each_layer(finished)
    if past is None:
        return
    if counts[0] < counts[1] or in_places(past) or (manner.holder and knows_layers(manner.holder)):
        finished.capabilities |= {"layers share a cache"}


def after_each_layer(finished: ModuleSubject) -> tuple[Any, list[int]]:
    """A cache after two layers had a step each, and how many tensors it held after each; None where one
    raises.
    """
    sizes = earlier_tokens.roomy(finished)
    weights, counts = random_weights(sizes), list[int]()
    dtype = next(iter(finished.cached_in))
    x = np.ones((sizes.batch, 2, sizes.d_in))
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            built = [
                finished.build(Config(sizes, dtype=dtype, layer=layer), weights) for layer in (0, 1)
            ]
            state = finished.begin_shared(built[0], sizes.batch)
            for one in built:
                finished.step(one, state, x, dtype)
                counts.append(sum(1 for _ in tensors(state.past)))
    except BaseException as error:  # a refusal is an answer, too
        interrupts.subjects_own(error)
        return None, []
    return state.past, counts


def in_places(past: Any) -> bool:
    """Whether a dict has numbers for keys, or a list holds pairs: those of each layer."""
    if isinstance(past, dict):
        return all(isinstance(key, int) for key in past)
    return isinstance(past, list) and not any(isinstance(part, Tensor) for part in past)


def knows_layers(holder: Holder) -> bool:
    """Whether objects of a class are made for so many layers, or a method reads the index of one."""
    methods = (part for _, part in inspect.getmembers(holder.kind, inspect.isfunction))
    return "layers" in holder.arguments.values() or any(map(reads_a_layer, methods))


def reads_a_layer(method: Any) -> bool:
    """Whether a method has an argument for the index of a layer and looks at it."""
    names = {name for name in inspect.signature(method).parameters if argument_role(name) == LAYER}
    return any(step.argval in names for step in dis.get_instructions(method))
