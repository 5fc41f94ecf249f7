"""Functions of queries, keys and values that weigh otherwise than by a softmax of products: linear
attention, cosine attention, sparsemax and others. They are refused for what they are: held against the
definition they would be accused of what they never meant to be.

What they do is found by trial. Some of it no slip makes of a softmax; that alone is enough. Some of it a
slip does make (a softmax that is left out, a sigmoid in its place, the best keys alone): there the name,
the docstring or an argument has to say so, else it is told as an error. Who names a family is asked.

Legend: T tokens, as many queries as keys; D head_dim.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from properties.basics.errors import QuestionError
from properties.recognition.adapters import another, messages
from properties.recognition.adapters.function_shell import Function, ways
from properties.recognition.adapters.weighing import Weighing


@dataclass(frozen=True)
class Kind:
    """One kind of attention. called: its name; does: what was seen of it; seen: whether it is; claimed:
    what has to be said of it besides, None where what is seen is enough.
    """

    called: str
    does: str
    seen: Callable[[Weighing], bool]
    claimed: re.Pattern[str] | None = None


def words(pattern: str) -> re.Pattern[str]:
    """The pattern, whatever the case."""
    return re.compile(pattern, re.IGNORECASE)


def linear(weighing: Weighing) -> bool:
    """Whether weights, each row divided by its sum, are products of few features."""
    return weighing.normalised and weighing.of_few_features and not weighing.negative


def without_softmax(weighing: Weighing) -> bool:
    """Whether weights are products of few features, and rows do not sum to one."""
    return weighing.of_few_features and not weighing.normalised


def of_directions(weighing: Weighing) -> bool:
    """Whether the lengths of queries and keys do not matter, and their directions do."""
    longer = weighing.same_for(query=2.0) and weighing.same_for(key=2.0)
    normal = weighing.normalised and not weighing.hard
    return normal and longer and not weighing.same_for(query=-1.0)


def of_sums(weighing: Weighing) -> bool:
    """Whether what is added to every query may be taken from every key."""
    return weighing.normalised and weighing.varied and weighing.same_moved(1.0, -1.0)


def of_distances(weighing: Weighing) -> bool:
    """Whether queries and keys may be moved together."""
    return weighing.normalised and weighing.varied and weighing.same_moved(1.0, 1.0)


def alone(weighing: Weighing) -> bool:
    """Whether no weight depends on other keys, and rows do not sum to one."""
    return weighing.varied and not weighing.normalised and weighing.apart


KINDS = (
    Kind(
        "attention by sparsemax or entmax",
        "rows sum to one, weights of low scores are zero, and others grow with the score or its square",
        lambda weighing: weighing.sparse_by("itself") or weighing.sparse_by("root"),
    ),
    Kind(
        "top-k attention",
        "of each row the best scores alone have a weight",
        lambda weighing: weighing.sparse_by("logarithm"),
        words(r"top_?k|\btop\b|sparse|best_k|k_best"),
    ),
    Kind(
        "linear attention",
        "weights are products of features of queries and of keys, divided by their sum",
        linear,
    ),
    Kind(
        "linear attention, without a sum that divides",
        "weights are products of features of queries and of keys, and rows do not sum to one",
        without_softmax,
        words(
            r"linear(i[sz]ed)?_((multi_?head|self|cross|causal)_)*att|retention|delta_?(rule|net)|"
            r"fast_?weight|softmax_free|without_(a_)?softmax"
        ),
    ),
    Kind(
        "cosine attention, or one with a norm of queries and keys",
        "twice as long queries and keys give the same output, and negated ones another",
        of_directions,
    ),
    Kind(
        "additive attention",
        "what is added to every query and taken from every key leaves all weights as they are",
        of_sums,
    ),
    Kind(
        "attention by distances",
        "queries and keys that are moved together leave all weights as they are",
        of_distances,
    ),
    Kind(
        "attention without a sum over keys",
        "no weight depends on another key, and rows do not sum to one",
        alone,
        words(r"sigmoid|relu|rectified|softmax_free|without_(a_)?softmax"),
    ),
    Kind(
        "attention with one more in the denominator of the softmax",
        "rows sum to less than one, and odds are those of a softmax",
        lambda weighing: weighing.short_of_one,
        words(r"softmax_?(1|one|plus_?one)\b|softmax_?(1|one)_|off_by_(one|1)|quiet|ghost|sink"),
    ),
)


def require_softmax(function: Function, family: str | None) -> None:
    """QuestionError for a function that is another kind of attention, by trial or by its name."""
    weighing = Weighing(function)
    if family is not None or not weighing.given or weighing.right:
        return
    said = another.plainly(" ".join(claims(function)))
    for kind in KINDS:
        if kind.seen(weighing) and (kind.claimed is None or kind.claimed.search(said)):
            raise is_another_kind(function, kind.called, kind.does)
    if name := another.said(function.name.rpartition(":")[2].rpartition(".")[2]):
        raise is_another_kind(
            function, f"by its name {name}", "a call does not give what attention does"
        )


def claims(function: Function) -> Iterator[str]:
    """Where a function says what it is: its name, its arguments and its docstring."""
    yield function.name.rpartition(":")[2]
    yield from function.arguments
    for way in ways(function.call):
        yield getattr(way, "__doc__", None) or ""


def is_another_kind(function: Function, called: str, does: str) -> QuestionError:
    """The refusal of a function for what it is."""
    return messages.refusal(
        f"{function.name} is {called}: {does}.",
        "softmax(Q K^T / sqrt(D)) V, by which no other kind of attention can be judged",
        "name a function that takes the softmax, or ask all the same by --family self, where it should",
    )
