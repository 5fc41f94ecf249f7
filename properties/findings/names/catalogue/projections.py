"""Projections that are mixed up, lost or applied wrongly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from properties.basics.dtypes import Array
from properties.cases.case import Case
from properties.findings.names.arithmetic import affine, plus, times, total
from properties.findings.names.catalogue import wrong
from properties.findings.names.formula import Formula
from properties.subjects.subject import (
    FAMILIES,
    HEADED_FAMILIES,
    JOINED_FAMILIES,
    PROJECTED_FAMILIES,
)
from properties.truth.bounds import Near, exactly

COPIED = "a line for queries, keys or values that was copied and not changed"
LAYER = "the projection's call, and the layout of its weight"
BIAS = "where the bias is added"
OUT = "what follows the merge of the heads"
NAMES = ("query", "key", "value")
PLURAL = {"query": "queries", "key": "keys", "value": "values"}
PARTS = JOINED_FAMILIES


def mixed_up(called: str, *sources: str) -> None:
    """Enter queries, keys and values that come from these projections."""

    @wrong(called, COPIED)
    class MixedUp(Formula):
        """Other projections."""

        def project(self) -> tuple[Near, Near, Near]:
            query, key, value = (self.projected(name) for name in sources)
            return query, key, value


mixed_up("queries and keys swapped", "key", "query", "value")
mixed_up("queries and values swapped", "value", "key", "query")
mixed_up("keys and values swapped", "query", "value", "key")
mixed_up("queries, keys and values turned by one", "key", "value", "query")
mixed_up("queries, keys and values turned by two", "value", "query", "key")
mixed_up("values made by the key projection", "query", "key", "key")
mixed_up("values made by the query projection", "query", "key", "query")
mixed_up("keys made by the query projection", "query", "query", "value")
mixed_up("keys made by the value projection", "query", "value", "value")
mixed_up("queries made by the key projection", "key", "key", "value")
mixed_up("queries made by the value projection", "value", "key", "value")
mixed_up("one projection makes queries, keys and values", "query", "query", "query")
mixed_up("one projection makes queries, keys and values", "key", "key", "key")
mixed_up("one projection makes queries, keys and values", "value", "value", "value")


def square(case: Case) -> bool:
    """Whether every projection is as wide as the input."""
    s = case.sizes
    return case.weights is not None and s.d_in == s.width == s.key_width


def changed(
    called: str, look: str, names: tuple[str, ...], change: Callable[[Formula, str], Near]
) -> None:
    """Enter projections of which those named are made by `change`, for square matrices alone."""

    @wrong(called, look)
    class Changed(Formula):
        """Some projections are others."""

        @classmethod
        def fits(cls, case: Case) -> bool:
            return square(case)

        def projected(self, name: str) -> Near:
            return change(self, name) if name in names else super().projected(name)


def transposed(formula: Formula, name: str) -> Near:
    """The projection by the transposed matrix."""
    matrix: Array = getattr(formula.parameters, name)
    return formula.through_layer(matrix.T, formula.bias(name))


def transposed_alone(formula: Formula, name: str) -> Near:
    """X @ layer.weight: the bias is lost on the way."""
    return formula.through_layer(getattr(formula.parameters, name).T, None)


for name in NAMES:
    changed(f"{name} matrix transposed", LAYER, (name,), transposed)
    changed(f"{name} matrix transposed", LAYER, (name,), transposed_alone)
    changed(f"{PLURAL[name]} not projected", LAYER, (name,), lambda formula, name: formula.x)
changed("all three matrices transposed", LAYER, NAMES, transposed)
changed("all three matrices transposed", LAYER, NAMES, transposed_alone)
changed("nothing projected: queries, keys and values are the input", LAYER, NAMES, lambda f, n: f.x)


def biased(
    called: str,
    biases: Callable[[Formula, str], Array | None],
    families: frozenset[str] = PROJECTED_FAMILIES,
    *,
    as_wide: bool = False,
) -> None:
    """Enter projections with other biases, wherever there are any; as_wide: where queries are as wide
    as keys and values.
    """

    @wrong(called, BIAS, families)
    class Biased(Formula):
        """Other biases."""

        @classmethod
        def fits(cls, case: Case) -> bool:
            return not as_wide or case.sizes.shared == 1

        def projected(self, name: str) -> Near:
            bias = None if self.bias(name) is None else biases(self, name)
            return self.through_layer(getattr(self.parameters, name), bias)


def lost(*names: str) -> Callable[[Formula, str], Array | None]:
    """No bias for the named."""
    return lambda formula, name: None if name in names else formula.bias(name)


def doubled(*names: str) -> Callable[[Formula, str], Array | None]:
    """Twice the bias for the named."""

    def bias(formula: Formula, name: str) -> Array:
        return np.asarray(formula.bias(name)) * (2.0 if name in names else 1.0)

    return bias


def from_others(**sources: str) -> Callable[[Formula, str], Array | None]:
    """The biases of other projections."""
    return lambda formula, name: formula.bias(sources.get(name, name))


def of_the_first_head(*names: str) -> Callable[[Formula, str], Array | None]:
    """The first head's bias for all heads."""

    def bias(formula: Formula, name: str) -> Array:
        own, s = np.asarray(formula.bias(name)), formula.sizes
        return np.resize(own[: s.head_dim], own.shape) if name in names else own

    return bias


biased("query bias lost", lost("query"))
biased("value bias lost", lost("value"))
biased("query, key and value biases lost", lost(*NAMES))
biased("query bias added twice", doubled("query"))
biased("value bias added twice", doubled("value"))
biased("query, key and value biases added twice", doubled(*NAMES))
biased("biases of keys and values swapped", from_others(key="value", value="key"))
biased("biases of queries and keys swapped", from_others(query="key", key="query"), as_wide=True)
biased(
    "biases of queries and values swapped", from_others(query="value", value="query"), as_wide=True
)
biased("value bias of the first head for all", of_the_first_head("value"), HEADED_FAMILIES)
biased("query bias of the first head for all", of_the_first_head("query"), HEADED_FAMILIES)
biased("biases of the first head for all", of_the_first_head(*NAMES), HEADED_FAMILIES)


def finishing(called: str, look: str, finish: Callable[[Formula, Near], Near]) -> None:
    """Enter another way from the context to the output."""

    @wrong(called, look, PARTS)
    class Finished(Formula):
        """Another end."""

        @classmethod
        def fits(cls, case: Case) -> bool:
            return case.weights is not None and case.weights.out is not None

        def finish(self, context: Near) -> Near:
            return finish(self, context)


def out(formula: Formula, context: Near, biases: float = 1.0) -> Near:
    """The output projection, its bias so many times."""
    matrix, bias = formula.parameters.out, formula.parameters.out_bias
    product = affine(context, np.asarray(matrix), None, formula.fmt)
    if bias is None or not biases:
        return product
    return plus(product, times(exactly(bias), biases, formula.fmt), formula.fmt)


def out_transposed(formula: Formula, context: Near) -> Near:
    """The output projection by the transposed matrix."""
    matrix = np.asarray(formula.parameters.out)
    return affine(context, matrix.T, formula.parameters.out_bias, formula.fmt)


finishing("output projection missing", OUT, lambda formula, context: context)
finishing("output projection transposed", LAYER, out_transposed)
finishing("output projection twice", OUT, lambda f, context: out(f, out(f, context)))
finishing("context added to its projection", OUT, lambda f, c: plus(out(f, c), c, f.fmt))
finishing("output bias lost", BIAS, lambda f, context: out(f, context, 0.0))
finishing("output bias added twice", BIAS, lambda f, context: out(f, context, 2.0))
finishing(
    "output bias added once for each head", BIAS, lambda f, c: out(f, c, float(f.sizes.heads))
)


@wrong("input added to the output: a residual inside", OUT, FAMILIES)
class Residual(Formula):
    """The caller adds it again."""

    @classmethod
    def fits(cls, case: Case) -> bool:
        return case.sizes.d_in == case.sizes.width

    def finish(self, context: Near) -> Near:
        return plus(super().finish(context), self.x, self.fmt)


@wrong("negative outputs cut off: an activation after attention", OUT, FAMILIES)
class Activated(Formula):
    """relu of the output."""

    def finish(self, context: Near) -> Near:
        output = super().finish(context)
        return Near(np.maximum(output.value, 0.0), output.error)


@wrong("token's own value added to its context", "what is added to the context", FAMILIES)
class OwnValueAdded(Formula):
    """A residual around the mixing."""

    def mix(self, weights: Near, values: Near) -> Near:
        return plus(super().mix(weights, values), values, self.fmt)


@wrong("negative values cut off", "an activation after the value projection", FAMILIES)
class ValuesActivated(Formula):
    """relu of the values."""

    def mix(self, weights: Near, values: Near) -> Near:
        return super().mix(weights, Near(np.maximum(values.value, 0.0), values.error))


@wrong("mean over the tokens subtracted from the values", "what is done to the values", FAMILIES)
class ValuesCentred(Formula):
    """The mean of all tokens, the future included."""

    def mix(self, weights: Near, values: Near) -> Near:
        mean = times(total(values, -2, self.fmt), -1.0 / self.sizes.tokens, self.fmt)
        return super().mix(weights, plus(values, mean, self.fmt))
