"""What comes out: its shape, its format, and what its strides have to do with it.

Legend: H heads, T tokens.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.cases.case import Case
from properties.findings.names.probes import alike, equal, ordinary, probe
from properties.findings.names.probes.kept import KEPT
from properties.truth.oracle import split

WIDTH = frozenset({"heads/wrapper-width", "shape/output-shape"})
AXES = frozenset({"shape/batch-of-one-and-one-token-keep-their-axes", "shape/unbatched-input"})
FORMATS = frozenset({"shape/dtype-preserved", "numerics/no-quiet-downcast"})
STRIDES = frozenset({"shape/strides-do-not-matter"})
VIEWS = STRIDES | {"shape/any-length-up-to-context"}  # of which each is a slice


@probe("heads are added, not put side by side", "what joins the heads", WIDTH)
def heads_added(case: Case) -> bool:
    """The output is the sum of what each head gives."""
    if not case.known or case.weights is None or case.weights.out is not None:
        return False
    summed = split(case.trace.context, case.sizes.heads).sum(axis=1)
    found = case.run()
    allowed = split(case.budget.output, case.sizes.heads).sum(axis=1)
    allowed = 2.0 * allowed + 1e-6 * np.abs(summed).max()
    return (
        case.sizes.heads > 1
        and found.shape == summed.shape
        and bool((np.abs(found - summed) <= allowed).all())
    )


@probe("heads are put one after the other along the tokens", "the dim of the cat", WIDTH)
def heads_after_each_other(case: Case) -> bool:
    """H times as many rows come out, head after head."""
    if not case.known or case.weights is None or case.weights.out is not None:
        return False
    rows, allowed = (
        np.concatenate(list(split(part, case.sizes.heads).swapaxes(0, 1)), axis=1)
        for part in (case.trace.context, case.budget.output)
    )
    found = case.run()
    same = found.shape == rows.shape and bool((np.abs(found - rows) <= allowed).all())
    return case.sizes.heads > 1 and same


@probe(
    "the padding to context_length is not cut off", "a slice of the output's tokens", WIDTH | KEPT
)
def padding_left(case: Case) -> bool:
    """The first T of context_length rows are right."""
    s = case.sizes
    found = case.run()
    longer = found.ndim == 3 and found.shape[1] == s.context_length > s.tokens
    return (
        longer
        and case.known
        and bool((np.abs(found[:, : s.tokens] - case.trace.output) <= case.budget.output).all())
    )


@probe(
    "an axis of length one is squeezed away",
    "squeeze without a dim",
    AXES | {"shape/output-shape"},
)
def squeezed(case: Case) -> bool:
    """The shape is the right one but for ones."""
    for batch, tokens in ((1, 1), (1, 2), (2, 1)):
        x = np.resize(case.x, (batch, tokens, case.sizes.d_in))
        s = replace(case.sizes, batch=batch, tokens=tokens)
        found = replace(case, x=x, other=x, sizes=s).run()
        if found.ndim < 3 and found.size == batch * tokens * case.sizes.width:
            return True
    return False


def formats(case: Case, training: bool) -> dict[str, str]:
    """The format of the output by that of the input."""
    found = {}
    for dtype in case.subject.dtypes:
        instance = replace(case, dtype=dtype).build()
        instance.module.train(training)
        with torch.no_grad():
            output = instance.forward(instance.tensor(case.x if instance.batched else case.x[0]))
        found[dtype] = str(output.dtype).removeprefix("torch.")
    return found


@probe("the output is float32 whatever the input is", "a cast that is not undone", FORMATS)
def always_float32(case: Case) -> bool:
    """In every format that the subject runs in."""
    found = formats(case, False)
    return len(found) > 1 and set(found.values()) == {"float32"}


@probe("half precision comes back as float32", "a cast, or a mask, in float32", FORMATS)
def half_is_widened(case: Case) -> bool:
    """And the other formats as themselves."""
    found = formats(case, False)
    wide = {d: f for d, f in found.items() if d != f}
    return bool(wide) and set(wide) <= {"bfloat16", "float16"} and set(wide.values()) == {"float32"}


@probe(
    "half precision comes back as float32 in training alone", "a dropout mask in float32", FORMATS
)
def half_is_widened_in_training(case: Case) -> bool:
    """In eval every format comes back as itself."""
    still, found = formats(case, False), formats(case, True)
    wide = {d for d, f in found.items() if d != f}
    return all(d == f for d, f in still.items()) and bool(wide) and wide <= {"bfloat16", "float16"}


@probe("float64 comes back as float32", "a cast that is not undone", FORMATS)
def double_is_narrowed(case: Case) -> bool:
    """And the other formats as themselves."""
    return {d: f for d, f in formats(case, False).items() if d != f} == {"float64": "float32"}


def strided(case: Case, x: torch.Tensor) -> Array:
    """The output for a tensor as it lies in memory."""
    return case.build().call(x)


@probe("the input's strides are ignored", "as_strided, data_ptr or a kernel's strides", STRIDES)
def strides_ignored(case: Case) -> bool:
    """Columns before tokens in memory give what the memory read in order gives."""
    case = ordinary(case)
    instance = case.build()
    if not instance.batched:
        return False
    turned = instance.tensor(case.x).mT.contiguous().mT
    in_order = turned.mT.reshape(turned.shape)
    plain = instance.call(instance.tensor(case.x))
    found = strided(case, turned)
    return not alike(case, found, plain) and equal(found, strided(case, in_order.contiguous()))


@probe("view of an input that is not contiguous", "view where reshape is meant", VIEWS)
def viewed(case: Case) -> bool:
    """PyTorch says so itself."""
    case = ordinary(case)
    instance = case.build()
    x = instance.tensor(case.x if instance.batched else case.x[0])
    try:
        instance.call(x.mT.contiguous().mT if instance.batched else x)
    except SubjectError as error:
        return "view size is not compatible" in str(error)
    return False
