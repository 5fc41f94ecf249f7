"""shape/: what comes out has the size and type that the input and the constructor say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from properties.basics.assertions import Violation, near, require
from properties.basics.dtypes import FORMATS, Array
from properties.basics.errors import OutsideError, SubjectError
from properties.cases.budgets import difference
from properties.cases.case import Case, parameters
from properties.recognition.adapters.derived import companions, number_count
from properties.spec.clause import Condition, Level, clause
from properties.spec.clauses.conditions import SEVERAL_TOKENS
from properties.subjects.instance import Instance
from properties.subjects.subject import JOINED_FAMILIES, PROJECTED_FAMILIES, Subject
from properties.truth.parameters import Sizes, Weights

AXES = "batch token column"
CALLS = 4  # of different lengths on one instance; which ones is drawn
FULL, HALF = ("float64", "float32"), ("bfloat16", "float16")
GPT2 = Sizes(batch=1, tokens=1, d_in=768, heads=12, head_dim=64, context_length=1024)


@clause(
    "shape/output-shape",
    Level.MUST,
    "The output has one row of H * D numbers (plain: d_in) for every token of every batch item.",
    after=(),
)
def output_shape(case: Case) -> None:
    """Heads are concatenated, so their widths add up: d_out for one head and for weight splits,
    d_out * H for the wrapper, d_in where there are no projections. Every other clause needs this.
    """
    expected = (case.sizes.batch, case.sizes.tokens, case.sizes.width)
    actual = case.output.shape
    require(actual == expected, f"an output of shape {expected}", f"{actual}")


@clause(
    "shape/any-length-up-to-context",
    Level.MUST,
    "One instance takes any number of tokens up to context_length, in any order of calls.",
    counts=Condition("room for a call of another length", lambda c: c.sizes.context_length > 1),
)
def any_length_up_to_context(case: Case) -> float:
    """A mask is cut to the tokens that came, and what one call leaves behind must not meet the
    next: after calls of other lengths this example gives what a new instance gives.
    """
    s, instance = case.sizes, case.build()
    lengths = np.random.default_rng(case.seed).permutation(s.context_length)[:CALLS] + 1
    for tokens in map(int, lengths):
        x = case.x[:, np.arange(tokens) % s.tokens]
        expected, actual = (s.batch, tokens, s.width), instance.run(x).shape
        require(actual == expected, f"an output of shape {expected}", f"{actual}", tokens=tokens)
    what = f"after calls with {', '.join(map(str, lengths))} tokens still"
    return near(what, instance.run(case.x), case.output, difference(case), AXES)


@clause(
    "shape/dtype-preserved",
    Level.MUST,
    "The output has the dtype of the input, in float64, in float32 and in what else it runs in.",
    unless={"widens"},
)
def dtype_preserved(case: Case) -> None:
    """A mask, a scale or a dropout mask of another type than the rest promotes the result, or stops
    the next product. Training is asked where there is dropout, for its mask is of its own making.
    """
    subject = case.subject
    claimed = FORMATS if subject.has("program") else subject.refused  # it says so itself
    wide = (dtype for dtype in FULL if dtype not in claimed)
    require_dtypes(case, dict.fromkeys((*wide, *subject.dtypes)))


@clause(
    "shape/half-precision-runs",
    Level.SHOULD,
    "There is an output in bfloat16 and in float16, of the input's dtype.",
    unless={"other arrays"},
)
def half_precision_runs(case: Case) -> None:
    """Models are run in these formats. Not a MUST: whether it can be depends on kernels, too."""
    require_dtypes(case, (dtype for dtype in HALF if dtype not in case.subject.refused))


def require_dtypes(case: Case, dtypes: Iterable[str]) -> None:
    """In eval and, where there is dropout, in training."""
    probability = case.dropout if case.subject.has("dropout") else 0.0
    for dtype in dtypes:
        expected = f"an output in {dtype} for an input in {dtype}"
        try:
            instance = replace(case, dtype=dtype).build(dropout=probability)
            x = instance.tensor(case.x if instance.batched else case.x[0])
            for training in (False, True) if probability else (False,):
                instance.module.train(training)
                with torch.set_grad_enabled(case.subject.has("gradients")):
                    actual = instance.forward(x).dtype
                require(actual == instance.dtype, expected, str(actual).removeprefix("torch."))
        except OutsideError:
            raise
        except SubjectError as error:
            raise Violation(expected, str(error), {}) from error


@clause(
    "shape/strides-do-not-matter",
    Level.MUST,
    "The output depends on the numbers of the input, not on how they lie in memory.",
)
def strides_do_not_matter(case: Case) -> float:
    """A tensor is its values: a transposed, sliced or expanded one is as good as a copy. Between
    the columns of the slice lies NaN, so that reading past a stride shows.
    """
    instance, allowed = case.build(), difference(case)
    x = instance.tensor(case.x)
    worst = 0.0
    for name, lay in LAYOUTS.items():
        output = instance.call(lay(x))
        what = f"what the same numbers give in order, not {name},"
        worst = max(worst, near(what, output, case.output, allowed, AXES))
    first = x[:1].expand(case.sizes.batch + 1, -1, -1)
    copied, expanded = instance.call(first.contiguous()), instance.call(first)
    what = "what a copy of the expanded input gives,"
    return max(worst, near(what, expanded, copied, allowed[:1], AXES))


def transposed(x: Tensor) -> Tensor:
    """The tokens' numbers lie one token apart."""
    return x.mT.contiguous().mT


def batch_inside(x: Tensor) -> Tensor:
    """The batch lies within the tokens, as where time is the first axis."""
    return x.transpose(0, 1).contiguous().transpose(0, 1)


def sliced(x: Tensor) -> Tensor:
    """Every other column, from within the tokens of a larger tensor."""
    batch, tokens, d_in = x.shape
    larger = x.new_full((batch, tokens + 2, 2 * d_in + 1), float("nan"))
    view = larger[:, 1:-1, 1::2]
    view.copy_(x)
    return view


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": transposed,
    "with the batch inside": batch_inside,
    "sliced": sliced,
}


@clause(
    "shape/batch-of-one-and-one-token-keep-their-axes",
    Level.MUST,
    "A batch of one item and a sequence of one token keep their axes.",
    after=(),
)
def batch_of_one_and_one_token_keep_their_axes(case: Case) -> None:
    """A squeeze that is meant for another axis takes these along, and the next layer broadcasts.

    How many columns there are is another clause's, so that this one says what is wrong.
    """
    instance = case.build()
    for x in (case.x[:1], case.x[:, :1], case.x[:1, :1]):
        output = instance.run(x)
        kept = output.shape[:-1] == x.shape[:-1]
        require(kept, f"an output ({x.shape[0]}, {x.shape[1]}, W)", f"{output.shape}")


@clause(
    "shape/empty-batch",
    Level.SHOULD,
    "A batch without items gives an output without items.",
    needs={"batched"},
)
def empty_batch(case: Case) -> None:
    """The last batch of a filtered data set may be empty; sums over nothing are defined."""
    expected, actual = (0, case.sizes.tokens, case.sizes.width), case.run(case.x[:0]).shape
    require(actual == expected, f"an output of shape {expected}", f"{actual}")


@clause(
    "shape/unbatched-input",
    Level.MUST,
    "One sequence (T, d_in) gives (T, W), the same as it gives in a batch.",
    families={"plain", "self"},
    needs={"unbatched"},
)
def unbatched_input(case: Case) -> float:
    """So the sources introduce attention: a matrix of tokens in, a matrix of context vectors out.

    W is d_in for the plain family, else d_out. Two tokens are asked besides all: the matrix is
    then most easily taken for something else.
    """
    alone = Instance(case.build().module, case.dtype, batched=False)
    worst = 0.0
    for part in (case, case.take(tokens=range(min(2, case.sizes.tokens)))):
        output, expected = alone.run(part.x), part.output.shape
        require(output.shape == expected, f"{expected[1:]} per sequence", f"{output.shape[1:]}")
        share = near("what it gives in a batch,", output, part.output, difference(part), AXES)
        worst = max(worst, share)
    return worst


@clause(
    "shape/parameter-shapes-and-count",
    Level.MUST,
    "The parameters are the projections, each with a bias only if asked for, and nothing else.",
    needs={"projections", "module"},
)
def parameter_shapes_and_count(case: Case) -> None:
    """d_in * W numbers each for queries, keys and values and W more for each bias, W * W + W for
    an output projection. Loading them has shown their shapes; the sum shows what is not theirs: a
    bias nobody asked for, a mask that an optimizer would train. Where no argument rules biases, those
    of queries and values, or of values alone, may stand without one of keys, which no weight depends on.
    """
    spare = {f"{role}_bias": (case.sizes.width_of(role),) for role in case.subject.spare_biases}
    shapes = {n: a.shape for n, a in parameters(case.weights).items()}
    require_parameters(count(case), shapes | spare)


@clause(
    "shape/gpt-2-size",
    Level.MUST,
    "From 768 to 768 in 12 heads, without biases of q, k and v, there are 2,360,064 parameters.",
    families=JOINED_FAMILIES,
    needs={"projections", "out-projection", "out-bias", "qkv-bias", "module"},
    examples=1,
)
def gpt_2_size(case: Case) -> None:
    """4 * 768 * 768 for the matrices and 768 for the output's bias. Counted once for a subject."""
    actual = gpt_2_parameters(case.subject)
    require(actual == 2_360_064, "2360064 parameters at GPT-2's size", f"{actual}")


@lru_cache(maxsize=1)
def gpt_2_parameters(subject: Subject) -> int:
    """The number of parameters at GPT-2's size."""
    square, vector = np.zeros((GPT2.width, GPT2.width)), np.zeros(GPT2.width)
    weights = Weights(square, square, square, out=square, out_bias=vector)
    x = np.zeros((1, 1, GPT2.d_in))
    return count(
        Case(subject, GPT2, "float32", x, x, weights, bias=False, dropout=0.0, cut=0, seed=0)
    )


def count(case: Case) -> int:
    """How many numbers the parameters hold, or the weights that are computed from them; those aside that
    are filled so that nothing of them is left.
    """
    module = case.build().module
    extras = case.subject.extras
    aside = sum(p.numel() for name, p in module.named_parameters() if name in extras)
    return number_count(module) - aside


def require_parameters(actual: int, shapes: dict[str, tuple[int, ...]]) -> None:
    """As many as the arrays of these shapes hold together."""
    expected = sum(int(np.prod(shape)) for shape in shapes.values())
    listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "none"
    require(actual == expected, f"{expected} parameters ({listed})", f"{actual}")


@clause(
    "shape/every-parameter-is-registered",
    Level.MUST,
    "All numbers that are trained are among the module's parameters.",
    families=PROJECTED_FAMILIES,
    needs={"module"},
    counts=SEVERAL_TOKENS,
)
def every_parameter_is_registered(case: Case) -> float:
    """A matrix kept as a plain attribute, in a list or as a buffer is not trained. Two instances
    are built with different weights; given the parameters of the one, and the buffers by which a
    parametrization computes weights from them, the other does what it does.
    """
    taught, blank = case.build(), emptied(case).build()
    theirs, own = (
        [*instance.module.parameters(), *companions(instance.module)]
        for instance in (taught, blank)
    )
    for parameter, source in zip(own, theirs, strict=True):
        parameter.data.copy_(source.data)
    what = "what the instance gives that the parameters are copied from,"
    return near(what, blank.run(case.x), case.output, difference(case), AXES)


def emptied(case: Case) -> Case:
    """The case with all weights zero, or where none can be set, drawn from another seed."""

    def empty(name: str, array: Array) -> Array:
        return array if name in ("x", "other") else np.zeros_like(array)

    return replace(case.map_arrays(empty), seed=case.seed + 1)
