"""What belongs to the module: its parameters, its copies, its class."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from properties.basics.dtypes import Array
from properties.cases.case import Case, parameters
from properties.findings.names.probes import alike, equal, ordinary, probe

OWNED = frozenset(
    {
        "shape/every-parameter-is-registered",
        "shape/parameter-shapes-and-count",
        "state/state-dict-round-trip",
        "state/dtype-move-takes-the-mask-along",
        "gradient/every-parameter-receives-gradient",
    }
)
PURE = frozenset({"numerics/deterministic-in-eval", "state/forward-is-pure"})
COPIES = frozenset({"state/deepcopy", "state/pickle"})
SHARED = frozenset({"state/instances-share-nothing", "heads/heads-have-their-own-weights"})


def plain_values(module: nn.Module) -> Iterator[object]:
    """What its parts keep as ordinary attributes."""
    for part in module.modules():
        for name, value in vars(part).items():
            if name not in ("_parameters", "_buffers", "_modules"):
                yield value


@probe("layers in a plain list: their parameters are not the module's", "nn.ModuleList", OWNED)
def layers_in_a_list(case: Case) -> bool:
    """A list, tuple or dict that holds modules."""
    return any(
        isinstance(item, nn.Module)
        for value in plain_values(case.build().module)
        if isinstance(value, list | tuple | dict)
        for item in (value.values() if isinstance(value, dict) else value)
    )


@probe("a weight is a plain tensor: not among the parameters", "nn.Parameter", OWNED)
def weight_is_plain(case: Case) -> bool:
    """An attribute that the output depends on."""
    return matters(case, lambda m: [v for v in plain_values(m) if isinstance(v, torch.Tensor)])


@probe("a weight is a buffer: it is saved and never trained", "nn.Parameter", OWNED)
def weight_is_a_buffer(case: Case) -> bool:
    """A buffer of real numbers that the output depends on, and no mask."""
    return matters(case, lambda m: list(m.buffers()))


def matters(case: Case, tensors: Callable[[nn.Module], list[torch.Tensor]]) -> bool:
    """Whether one of these tensors, no mask of zeros and ones, changes the output if it is halved."""
    case = ordinary(case)
    before = case.run()
    for number in range(len(tensors(case.build().module))):
        instance = case.build()
        tensor = tensors(instance.module)[number]
        distinct = torch.unique(tensor.detach()) if tensor.is_floating_point() else []
        if len(distinct) > 2:
            with torch.no_grad():
                tensor.mul_(0.5)
            if not alike(case, instance.run(case.x), before):
                return True
    return False


@probe("the mask is a parameter: it is counted and trained", "register_buffer", OWNED)
def mask_is_a_parameter(case: Case) -> bool:
    """A square of context_length that holds two numbers; in the failing case all sizes may be one."""
    case = ordinary(case)
    size = case.sizes.context_length
    return any(
        p.shape[-2:] == (size, size) and len(torch.unique(p.detach())) <= 2
        for p in case.build().module.parameters()
    )


@probe("a parameter that takes no part", "a layer that is left over", OWNED)
def left_over(case: Case) -> bool:
    """Whatever it is, the output for ordinary numbers stays the same.

    The failing case has none any more: where its keys are zero, no query takes part.
    """
    case = ordinary(case)
    for name, _ in case.build().module.named_parameters():
        instance = case.build()
        parameter = dict(instance.module.named_parameters())[name]
        if parameter.dim() > 1:
            with torch.no_grad():
                parameter.add_(1.0)
            if equal(instance.run(case.x), case.output):
                return True
    return False


@probe("numbers are drawn in eval", "F.dropout without training=self.training", PURE)
def drawn_in_eval(case: Case) -> bool:
    """Two seeds give two outputs, and one seed the same. What is told a p is judged by what that drops."""
    if case.subject.has("dropout"):
        return False
    instance = case.build()
    first, again, other = (instance.run(case.x, seed=seed) for seed in (0, 0, 1))
    return equal(first, again) and not equal(first, other)


@probe("a copy shares its parameters with the original", "__deepcopy__ or __copy__", COPIES)
def copy_shares(case: Case) -> bool:
    """Their memory is one and the same."""
    module = case.build().module
    return bool(memory(module) & memory(copy.deepcopy(module)))


def memory(module: nn.Module) -> set[int]:
    """Where the parameters lie."""
    return {parameter.data_ptr() for parameter in module.parameters()}


@probe("a function made on the spot cannot be pickled", "a lambda kept as an attribute", COPIES)
def lambda_kept(case: Case) -> bool:
    """An attribute that pickle refuses, where a copy is not off because every run is."""
    if drawn_in_eval(case):
        return False
    module = case.build().module
    for value in plain_values(module):
        if callable(value) and not isinstance(value, nn.Module):
            try:
                pickle.dumps(value)
            except (AttributeError, TypeError, pickle.PicklingError):
                return True
    return False


@probe("instances share their parameters", "a cache of layers, or a class attribute", SHARED)
def instances_share(case: Case) -> bool:
    """Two modules, one memory."""
    one, other = case.build().module, case.build().module
    return bool(memory(one) & memory(other))


@probe("sizes are kept with the class, not with the instance", "an attribute of the class", SHARED)
def class_changes(case: Case) -> bool:
    """Building a module of other sizes changes the class."""
    first = case.build().module
    before = {name: repr(value) for name, value in vars(type(first)).items()}
    widened(case).build()
    after = {name: repr(value) for name, value in vars(type(first)).items()}
    return before != after


def widened(case: Case) -> Case:
    """The case with every head one column wider."""
    s = replace(case.sizes, head_dim=case.sizes.head_dim + 1)
    square = not case.subject.has("rectangular")
    d_in = s.width if square else s.d_in

    def grown(array: Array, matrix_out: bool) -> Array:
        shape = (s.width,) if array.ndim == 1 else (s.width if matrix_out else d_in, s.width)
        return np.zeros(shape)

    named = parameters(case.weights)
    arrays = {name: grown(array, name == "out") for name, array in named.items()}
    x = np.resize(case.x, (*case.x.shape[:2], d_in))
    weights = None if case.weights is None else replace(case.weights, **arrays)
    return replace(case, sizes=replace(s, d_in=d_in), x=x, other=x, weights=weights)
