"""What is wrong besides the formula, by name: each name has a probe of its own that can also say no.

A probe asks an instance of the failing case something that only the fault it is named after answers
so, and is told beside the laws that such a fault breaks. What a subject raises is no answer.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.cases import budgets
from properties.cases.case import Case, parameters
from properties.findings.names import start_probes
from properties.findings.names.examples import GENERIC, Example, like, made
from properties.findings.names.formula import Formula, Seen
from properties.findings.names.group_probes import LAW, LEARNING
from properties.truth.oracle import split

Question = Callable[[Case], bool]
WIDTH = frozenset({"heads/wrapper-width", "shape/output-shape"})
AXES = frozenset({"shape/batch-of-one-and-one-token-keep-their-axes", "shape/unbatched-input"})
FORMATS = frozenset({"shape/dtype-preserved", "numerics/no-quiet-downcast"})
KEPT = frozenset(
    {
        "state/forward-is-pure",
        "shape/any-length-up-to-context",
        "causality/prefix-gives-prefix",
    }
)
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
GRADIENTS = frozenset(
    {
        "gradient/gradcheck",
        "gradient/every-parameter-receives-gradient",
        "oracle/gradient-within-bound",
    }
)
TOKENS = frozenset({"error/too-many-tokens"})
COLUMNS = frozenset({"error/wrong-d_in"})
STRIDES = frozenset({"shape/strides-do-not-matter"})
SHARED = frozenset({"state/instances-share-nothing", "heads/heads-have-their-own-weights"})


@dataclass(frozen=True)
class Probe:
    """A name, where to look, the laws that it explains, and the question that tells it."""

    called: str
    look: str
    clauses: frozenset[str]
    asks: Question

    def holds(self, case: Case) -> bool:
        """Whether the subject of a case answers so."""
        try:
            with np.errstate(all="ignore"):
                return self.asks(case)
        except SubjectError:
            return False

    def __str__(self) -> str:
        return f"{self.called}; look for {self.look}"


PROBES: list[Probe] = []


def probe(called: str, look: str, clauses: frozenset[str]) -> Callable[[Question], Question]:
    """Enter the decorated question."""

    def enter(asks: Question) -> Question:
        PROBES.append(Probe(called, look, clauses, asks))
        return asks

    return enter


@lru_cache(maxsize=64)
def probed(clause: str, case: Case) -> tuple[str, ...]:
    """The names, each with where to look, of the probes that explain why a case fails a clause.

    A case that was made small may have no numbers left but zeros, of which too much is true; so what
    is told holds for ordinary numbers of its sizes as well.
    """
    ordinary = like(case, case.sizes, 0)
    return tuple(
        str(each)
        for each in PROBES
        if clause in each.clauses and each.holds(case) and each.holds(ordinary)
    )


def equal(a: Array, b: Array) -> bool:
    """Whether two outputs are the same numbers."""
    return a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=True))


def alike(case: Case, a: Array, b: Array) -> bool:
    """Whether two outputs of a case's input are the same up to rounding."""
    allowed = budgets.difference(case)
    return a.shape == b.shape == allowed.shape and bool((np.abs(a - b) <= allowed).all())


# What is done to an input that does not fit


def raw(case: Case, x: Array) -> Array:
    """The output for an input of any shape; SubjectError where it is refused."""
    instance = case.build()
    instance.module.eval()
    with torch.no_grad():
        output = instance.forward(instance.tensor(x))
    return output.to(torch.float64).numpy()


@probe("columns beyond d_in are cut off", "a slice of the input's columns", COLUMNS)
def columns_cut(case: Case) -> bool:
    """A wider input gives what its first d_in columns give."""
    return equal(raw(case, np.concatenate([case.x, case.other], axis=-1)), case.run())


@probe("missing columns are taken for zeros", "a padding of the input's columns", COLUMNS)
def columns_filled(case: Case) -> bool:
    """A narrower input gives what it gives with zeros added."""
    if case.sizes.d_in < 2:
        return False
    x = case.x.copy()
    x[..., -1] = 0.0
    return equal(raw(case, x[..., :-1]), case.run(x))


@probe("a single column is repeated", "an expand or a broadcast of the input", COLUMNS)
def column_repeated(case: Case) -> bool:
    """An input of one column gives what d_in copies of it give."""
    if case.sizes.d_in < 2:
        return False
    return equal(
        raw(case, case.x[..., :1]), case.run(np.repeat(case.x[..., :1], case.sizes.d_in, -1))
    )


@probe(
    "a sequence without a batch axis is read as items of one token each",
    "an axis that is added in the wrong place",
    frozenset({"error/wrong-rank"}),
)
def tokens_for_items(case: Case) -> bool:
    """(T, d_in) gives what (T, 1, d_in) gives, and one token sees no other."""
    if case.sizes.tokens < 2 or case.subject.has("unbatched"):
        return False
    tokens = case.x[0]
    alone = np.stack([case.run(token[None, None])[0] for token in tokens])
    found = raw(case, tokens)
    return found.size == alone.size and bool(
        (np.abs(found.reshape(alone.shape) - alone) <= 1e-3 * np.abs(alone).max()).all()
    )


def longer(case: Case) -> Case:
    """The case with one token more than the module is made for."""
    limit = max(2, case.sizes.tokens)
    x = np.concatenate([case.x, case.other], axis=1)[
        :, np.arange(limit + 1) % (2 * case.sizes.tokens)
    ]
    sizes = replace(case.sizes, tokens=limit + 1, context_length=limit)
    return replace(case, x=x, other=x, sizes=sizes)


@probe("the beginning of a longer input is cut off", "a slice of the input's tokens", TOKENS)
def beginning_cut(case: Case) -> bool:
    """As many rows come out as fit, those of the last tokens."""
    long = longer(case)
    return equal(long.run(), long.run(long.x[:, -long.sizes.context_length :]))


@probe(
    "rows beyond context_length are zero", "a slice of the input's tokens, and a padding", TOKENS
)
def rows_zero(case: Case) -> bool:
    """The first rows are right."""
    long = longer(case)
    output, limit = long.run(), long.sizes.context_length
    first = long.run(long.x[:, :limit])
    return (
        output.shape[1] == limit + 1
        and equal(output[:, :limit], first)
        and not output[:, limit:].any()
    )


class Unhidden(Formula):
    """Nothing is hidden beyond the mask."""

    def seen(self) -> Seen:
        """All rows and columns that the mask does not reach."""
        beyond = np.arange(self.sizes.tokens) >= self.sizes.context_length
        return super().seen() | beyond[:, None] | beyond


class StartingOver(Formula):
    """The mask is repeated."""

    def seen(self) -> Seen:
        """As for the number of a token modulo context_length."""
        again = np.arange(self.sizes.tokens) % self.sizes.context_length
        return again[None, :] <= again[:, None]


def is_formula(case: Case, formula: type[Formula]) -> bool:
    """Whether the output for a longer input is wrong, and the formula's."""
    example = Example(longer(case))
    if not case.known or example.output is None or example.right:
        return False
    return example.agrees(formula) and example.betrays(formula)


@probe("nothing is hidden beyond context_length", "a mask that is shorter than the input", TOKENS)
def unhidden(case: Case) -> bool:
    """What the mask does not reach is seen."""
    return is_formula(case, Unhidden)


@probe("the mask starts over beyond context_length", "an index modulo context_length", TOKENS)
def starting_over(case: Case) -> bool:
    """The mask is repeated."""
    return is_formula(case, StartingOver)


OUTSIDE = frozenset({"error/dropout-out-of-range", "error/dropout-out-of-range-at-construction"})


def at(case: Case, p: float) -> Array:
    """The output in training at a p that is none."""
    return case.run(training=True, dropout=p)


@probe("a dropout above 1 drops nothing", "what the constructor checks", OUTSIDE)
def drops_nothing(case: Case) -> bool:
    """Training at p = 1.5 is evaluation."""
    return case.subject.has("dropout") and alike(case, at(case, 1.5), case.run())


@probe("a dropout above 1 is taken for 1", "a clamp of the probability", OUTSIDE)
def drops_all(case: Case) -> bool:
    """Training at p = 1.5 is training at p = 1, where all is dropped."""
    return case.subject.has("dropout") and equal(at(case, 1.5), at(case, 1.0))


@probe("a dropout above 1 is taken for a percentage", "a division by 100", OUTSIDE)
def percentage(case: Case) -> bool:
    """Training at p = 50 is training at p = 0.5, and not evaluation."""
    if not case.subject.has("dropout"):
        return False
    half = at(case, 50.0)
    return equal(half, at(case, 0.5)) and not equal(half, case.run())


# What comes out


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


@probe("an axis of length one is squeezed away", "squeeze without a dim", AXES)
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
    instance = case.build()
    if not instance.batched:
        return False
    turned = instance.tensor(case.x).mT.contiguous().mT
    in_order = turned.mT.reshape(turned.shape)
    plain = instance.call(instance.tensor(case.x))
    found = strided(case, turned)
    return not alike(case, found, plain) and equal(found, strided(case, in_order.contiguous()))


@probe("view of an input that is not contiguous", "view where reshape is meant", STRIDES)
def viewed(case: Case) -> bool:
    """PyTorch says so itself."""
    instance = case.build()
    x = instance.tensor(case.x if instance.batched else case.x[0])
    try:
        instance.call(x.mT.contiguous().mT if instance.batched else x)
    except SubjectError as error:
        return "view size is not compatible" in str(error)
    return False


# What is kept between calls


@probe("a result is kept for each shape of the input", "a cache in forward", KEPT)
def kept_by_shape(case: Case) -> bool:
    """Another input of the same shape gives the first one's output."""
    instance = case.build()
    first, second = instance.run(case.x), instance.run(case.other)
    return equal(first, second) and not alike(case, second, case.run(case.other))


@probe("a mask is kept from the first call", "what forward assigns to self", KEPT)
def mask_kept(case: Case) -> bool:
    """After a call of two tokens longer ones raise or change; after one of all tokens they do not."""
    if case.sizes.tokens < 3:
        return False
    instance, again = case.build(), case.build()
    right = instance.run(case.x)
    if not equal(instance.run(case.x), right):
        return False
    again.run(case.x[:, :2])
    try:
        return not alike(case, again.run(case.x), right)
    except SubjectError:
        return True


@probe("a call adds to the state_dict", "register_buffer or an assignment in forward", KEPT | OWNED)
def state_grows(case: Case) -> bool:
    """Entries that were not there before."""
    instance = case.build()
    before = set(instance.module.state_dict())
    instance.run(case.x)
    return bool(set(instance.module.state_dict()) - before)


@probe("a call changes what the state_dict holds", "a buffer or parameter written in forward", KEPT)
def state_changes(case: Case) -> bool:
    """In either mode."""
    instance = case.build()
    before = instance.state()
    for training in (False, True):
        instance.run(case.x, training=training)
    after = instance.state()
    return before.keys() == after.keys() and any(not equal(before[n], after[n]) for n in before)


# What belongs to the module


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
    ordinary = made(case.subject, GENERIC[0], case.bias, 0)
    size = ordinary.sizes.context_length
    return any(
        p.shape[-2:] == (size, size) and len(torch.unique(p.detach())) <= 2
        for p in ordinary.build().module.parameters()
    )


@probe("a parameter that takes no part", "a layer that is left over", OWNED)
def left_over(case: Case) -> bool:
    """Whatever it is, the output for ordinary numbers stays the same.

    The failing case has none any more: where its keys are zero, no query takes part.
    """
    ordinary = made(case.subject, GENERIC[0], case.bias, 0)
    for name, _ in ordinary.build().module.named_parameters():
        instance = ordinary.build()
        parameter = dict(instance.module.named_parameters())[name]
        if parameter.dim() > 1:
            with torch.no_grad():
                parameter.add_(1.0)
            if equal(instance.run(ordinary.x), ordinary.output):
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


# The way back


def gradients(case: Case) -> dict[str, Array]:
    """Those of the parameters by our names; none where the subject cannot say."""
    probe = replace(case, x=case.other)
    found = probe.build().gradients(probe.x, probe.upstream)
    named = {name: array for name, array in found.items() if name != "x"}
    return parameters(case.subject.collect(named, case.config()))


def cut_off(case: Case) -> set[str]:
    """The parameters that have no gradient though the formula's is clearly not zero."""
    if not case.known or case.weights is None:
        return set()
    probe = replace(case, x=case.other)
    right = parameters(probe.gradients.parameters)
    allowed = parameters(probe.gradient_budget.parameters)
    return {
        name
        for name, array in gradients(case).items()
        if not array.any() and bool((np.abs(right[name]) > 2.0 * allowed[name]).any())
    }


CUT = {
    "no gradient reaches the keys": {"key"},
    "no gradient reaches the queries": {"query"},
    "no gradient reaches the values": {"value"},
    "no gradient reaches queries and keys: the weights are detached": {"query", "key"},
    "no gradient reaches the value bias": {"value_bias"},
}


def entered(called: str, names: set[str]) -> None:
    """Enter parameters that are cut off, all of them and no others; a key bias never has a gradient."""

    @probe(called, "detach, no_grad or .data", GRADIENTS)
    def asks(case: Case) -> bool:
        if weight_is_plain(case) or weight_is_a_buffer(case) or not Example(case).right:
            return False  # then there is another reason
        biases = {"query_bias"} if "query" in names else set()
        return names <= cut_off(case) <= names | biases | {"key_bias"}


for called, names in CUT.items():
    entered(called, names)
for called, asks in start_probes.STARTS.items():
    probe(called, start_probes.LOOK, frozenset({start_probes.LAW}))(asks)
for called, asks in LEARNING.items():
    probe(called, "the backward pass of the heads of a group", GRADIENTS | {LAW})(asks)


@probe(
    "gradients of queries and keys are half of what they should be", "a custom backward", GRADIENTS
)
def halved(case: Case) -> bool:
    """And those of the values are right."""
    if not case.known or case.weights is None:
        return False
    probe = replace(case, x=case.other)
    right = parameters(probe.gradients.parameters)
    allowed = parameters(probe.gradient_budget.parameters)
    factor = {"query": 0.5, "key": 0.5, "value": 1.0}
    found = gradients(case)
    return all(
        name in found
        and bool((np.abs(found[name] - f * right[name]) <= allowed[name]).all())
        and bool((np.abs(right[name]) > 4.0 * allowed[name]).any())
        for name, f in factor.items()
    )
