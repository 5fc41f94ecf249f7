"""state/: a module is its parameters and its mode, and a call changes neither."""

from __future__ import annotations

import copy
import pickle
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from properties.basics.assertions import Violation, near, require
from properties.basics.dtypes import Array
from properties.basics.errors import OutsideError, SubjectError
from properties.cases.budgets import difference
from properties.cases.case import Case
from properties.cases.strategies import make_case
from properties.recognition.adapters.derived import companions, originals
from properties.spec.clause import Level, clause
from properties.spec.clauses.argument import NEARLY_ALL, require_dropped
from properties.spec.clauses.conditions import SEVERAL_TOKENS, equal_scores
from properties.spec.clauses.shape import emptied
from properties.subjects.instance import Instance, describe
from properties.subjects.subject import HEADED_FAMILIES, PROJECTED_FAMILIES

AXES = "batch token column"
MODES = {"eval": False, "training": True}


@clause(
    "state/input-untouched",
    Level.MUST,
    "A call leaves the numbers of its input as they were, in eval and in training.",
)
def input_untouched(case: Case) -> None:
    """The same tensor goes on into the residual path; written to in place, it is another there."""
    instance = case.build(dropout=probability(case))
    for mode, training in MODES.items():
        x = instance.tensor(case.x)
        instance.call(x, training=training)
        changed = int((x != instance.tensor(case.x)).sum())
        require(not changed, f"an untouched input in {mode}", f"{changed} changed numbers")


@clause(
    "state/queries-keys-and-values-untouched",
    Level.MUST,
    "A function leaves the queries, keys and values that it is given as they were, in eval and in "
    "training.",
    families=PROJECTED_FAMILIES,
    needs={"function"},
    examples=12,
)
def queries_keys_and_values_untouched(case: Case) -> None:
    """They are the caller's: keys and values are kept in caches, queries are used again. A function
    that divides the queries in place divides them again in the next call. They are given as views
    and as copies in order, since what makes its own copy of a view may write to the rest.
    """
    instance = case.build(dropout=probability(case))
    module: Any = instance.module  # which a function's has more of than others
    given = module.handed_over(instance.tensor(case.x))
    for mode, training in MODES.items():
        module.train(training)
        for lay in (Tensor.detach, Tensor.contiguous):
            handed = [lay(part.detach().clone()) for part in given]
            before = [part.clone() for part in handed]
            try:
                with torch.no_grad():
                    module.attend(*handed)
            except OutsideError:
                raise
            except Exception as error:  # whatever it is, it is the subject's
                raise SubjectError(f"the function raised {describe(error)}") from error
            for name, part, copied in zip(
                ("queries", "keys", "values"), handed, before, strict=True
            ):
                changed = int((part != copied).sum())
                require(not changed, f"untouched {name} in {mode}", f"{changed} changed numbers")


def probability(case: Case) -> float:
    """The case's dropout where the subject has any."""
    return case.dropout if case.subject.has("dropout") else 0.0


@clause(
    "state/forward-is-pure",
    Level.MUST,
    "A call leaves the state_dict and every later result as they were.",
    needs={"module"},
)
def forward_is_pure(case: Case) -> float:
    """Attention remembers nothing. After another input, this one in training and the other once
    more, an instance gives what a new one gives.
    """
    instance = case.build(dropout=probability(case))
    before = instance.state()
    instance.run(case.other)
    if not companions(instance.module):  # which training changes, as it should
        instance.run(case.x, training=True)
    instance.run(case.other)
    again = instance.run(case.x)
    require_same_state(before, instance.state())
    return near("after other calls still", again, case.output, difference(case), AXES)


def require_same_state(before: dict[str, Array], after: dict[str, Array]) -> None:
    """The same entries, and in each the same numbers."""
    gone, new = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
    require(not gone + new, "the same entries in the state_dict", f"lost {gone}, new {new}")
    changed = [n for n in before if not np.array_equal(before[n], after[n], equal_nan=True)]
    require(not changed, "an unchanged state_dict", f"changes in {', '.join(changed)}")


@clause(
    "state/instances-share-nothing",
    Level.MUST,
    "Building and calling instances of other weights, sizes and dtype changes no result.",
)
def instances_share_nothing(case: Case) -> float:
    """Several attentions live in one process. What is kept with the class or in a cache whose key
    lacks a size or the dtype reaches from one to the next.
    """
    instance = case.build()
    for other in (emptied(case), neighbour(case)):
        other.run()
    what = "after other instances were built and called still"
    return near(what, instance.run(case.x), case.output, difference(case), AXES)


def neighbour(case: Case) -> Case:
    """As many tokens and items, all else different as far as the subject allows it."""
    s, subject = case.sizes, case.subject
    heads = s.heads + s.shared if subject.family in HEADED_FAMILIES else s.heads
    groups = 1 if subject.has("one group") else s.groups and s.groups + 1
    head_dim, d_in = subject.limits.head_dim(s.head_dim + 1), s.d_in + 1
    if not (subject.has("rectangular") or subject.family == "plain"):
        d_in = heads * head_dim
    sizes = replace(
        s,
        d_in=d_in,
        heads=heads,
        head_dim=head_dim,
        context_length=s.context_length + 1,
        groups=groups,
    )
    dtypes = [dtype for dtype in subject.dtypes if dtype != case.dtype] or [case.dtype]
    dtype = dtypes[case.seed % len(dtypes)]
    return make_case(
        subject, sizes, dtype, "ordinary", not case.bias, case.dropout, case.cut, case.seed + 1
    )


@clause(
    "state/state-dict-round-trip",
    Level.MUST,
    "A new instance that loads the state_dict does what the old one does.",
    families=PROJECTED_FAMILIES,
    needs={"module"},
    counts=SEVERAL_TOKENS,
)
def state_dict_round_trip(case: Case) -> float:
    """A checkpoint is all that is left of a training run. The new instance starts from other
    weights, so whatever the state_dict leaves out shows.
    """
    trained, blank = case.build(), emptied(case).build()
    trained.run(case.x)
    try:
        blank.module.load_state_dict(trained.module.state_dict())
    except Exception as error:  # whatever it is, it is the subject's
        raise Violation("a state_dict that can be loaded", describe(error), {}) from error
    what = "what the instance gives that the state_dict is from,"
    return near(what, blank.run(case.x), case.output, difference(case), AXES)


@clause(
    "state/survives-deferred-construction",
    Level.SHOULD,
    "A module that is built on the meta device, given memory and then a state_dict does what the one "
    "does that the state_dict is from, or raises.",
    families=PROJECTED_FAMILIES,
    needs={"module"},
    counts=SEVERAL_TOKENS,
    after=("numerics/deterministic-in-eval", "state/state-dict-round-trip"),
    examples=4,
    unless={"other arrays"},
)
def survives_deferred_construction(case: Case) -> float:
    """So large models are loaded: `to_empty` gives memory without numbers, `reset_parameters` is
    called where there is one, and the checkpoint fills what it holds. A mask in a buffer that is not
    saved is then whatever the memory held, here zeros, and the future leaks without a word. A saved
    buffer, a mask made in forward and one that `reset_parameters` makes again survive; a mask on the
    meta device raises, which is enough. No MUST: a buffer that is not saved keeps checkpoints small,
    and who builds modules the ordinary way loses nothing by it.
    """
    trained = case.build()
    try:
        with torch.device("meta"):
            module = case.subject.build(case.config(), None)
        module.to_empty(device="cpu")
        reset(module)
        module.load_state_dict(trained.module.state_dict())
        module = case.subject.limits.attach(module, case.sizes.context_length, trained.batched)
        output = Instance(module, case.dtype, batched=trained.batched).run(case.x)
    except Exception:  # it cannot be built so, and says so
        return 0.0
    what = "built on the meta device, what the module gives that the state_dict is from,"
    return near(what, output, case.output, difference(case), AXES)


def reset(module: nn.Module) -> None:
    """Zeros in every buffer and parameter, then what each part does to start anew."""
    for tensor in (*module.buffers(), *module.parameters()):
        tensor.data.zero_()
    for part in module.modules():
        if callable(start := getattr(part, "reset_parameters", None)):
            start()


@clause(
    "state/deepcopy",
    Level.MUST,
    "A deep copy does what the original does, and what happens to either does not reach the other.",
    needs={"module"},
    counts=SEVERAL_TOKENS,
)
def deep_copy(case: Case) -> float:
    """Stacks of layers, averaged weights and target networks are made by `copy.deepcopy`. Here the
    copy is made after a call, and the original's parameters are then set to zero.
    """
    instance = case.build()
    instance.run(case.x)
    try:
        module = copy.deepcopy(instance.module)
    except Exception as error:  # whatever it is, it is the subject's
        raise Violation("a deep copy", describe(error), {}) from error
    for parameter in instance.module.parameters():
        parameter.data.zero_()
    output = Instance(module, case.dtype, batched=instance.batched).run(case.x)
    return near("of the copy", output, case.output, difference(case), AXES)


@clause(
    "state/pickle",
    Level.SHOULD,
    "A pickled module, once loaded, does what the original does.",
    needs={"module"},
    counts=SEVERAL_TOKENS,
)
def pickled(case: Case) -> float:
    """Workers of another process get their module that way. A class is pickled by its name; where
    it cannot be found by that (a notebook's, a function's own), the state_dict is pickled instead, as
    of the module that is ours around a function.
    """
    instance = case.build()
    instance.run(case.x)
    importable = not case.subject.has("function") and all(
        found_by_name(type(part)) for part in instance.module.modules()
    )
    try:
        if importable:
            module = pickle.loads(pickle.dumps(instance.module))
        else:
            module = emptied(case).build().module
            module.load_state_dict(pickle.loads(pickle.dumps(instance.module.state_dict())))
    except Exception as error:  # whatever it is, it is the subject's
        raise Violation("a module that can be pickled", describe(error), {}) from error
    output = Instance(module, case.dtype, batched=instance.batched).run(case.x)
    return near("of the loaded module", output, case.output, difference(case), AXES)


def found_by_name(kind: type) -> bool:
    """Whether an import finds the class under its own name."""
    place: object = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split("."):
        place = getattr(place, name, None)
    return place is kind


@clause(
    "state/dtype-move-takes-the-mask-along",
    Level.MUST,
    "A module that has run in one dtype and is moved to another does what one built in it does.",
    needs={"module"},
    counts=SEVERAL_TOKENS,
)
def dtype_move_takes_the_mask_along(case: Case) -> float:
    """`module.to` moves parameters and buffers. A mask that is a plain attribute, or is kept from
    the first call, stays behind. The first dtype is the wider one where that loses no digits, and
    always where weights are computed from others, or angles of positions: rounding those makes others.
    """
    made = case.subject.positions is not None or originals(case.build().module)
    if case.dtype == "float64" and made:
        case = replace(case, dtype="float32")
    first = "float32" if case.dtype == "float64" else "float64"
    instance = replace(case, dtype=first).build()
    if first in case.subject.dtypes:
        instance.run(case.x)
    moved = Instance(instance.module, case.dtype, batched=instance.batched)
    what = f"after a move from {first} to {case.dtype} still"
    return near(what, moved.run(case.x), case.output, difference(case), AXES)


@clause(
    "state/train-and-eval-reach-dropout",
    Level.MUST,
    "On one instance train() always switches dropout on, and eval() always switches it off.",
    needs={"projections", "dropout", "module"},
    after=("argument/dropout-has-effect",),
)
def train_and_eval_reach_dropout(case: Case) -> float:
    """The mode is read at each call, wherever dropout is kept. The scores are made equal and the
    weights visible, so that a dropped one shows in any dtype. Five draws that all keep the only
    weight though p is 0.999 have a probability of 1e-15.
    """
    probe = equal_scores(case)
    instance = probe.build(dropout=NEARLY_ALL)
    worst = 0.0
    for _ in range(2):
        require_dropped(probe, instance)
        output = instance.run(probe.x, seed=case.seed)
        worst = max(worst, near("in eval", output, probe.output, lambda: difference(probe), AXES))
    return worst
