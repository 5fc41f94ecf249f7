"""What a clause sees: one example of sizes, weights and input, and the subject to run on it.

Legend: B batch, T tokens, H heads, D head_dim, W = H * D.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from properties.basics import interrupts
from properties.basics.doing import doing
from properties.basics.dtypes import Array
from properties.basics.errors import SubjectError
from properties.cases import probing
from properties.cases.call import Call
from properties.cases.lending import lent
from properties.subjects.instance import Instance, describe
from properties.subjects.subject import CAUSAL_FAMILIES, Config, Subject
from properties.truth import bounds, oracle
from properties.truth.bounds import Budget, GradientBudget
from properties.truth.oracle import Gradients, Trace
from properties.truth.parameters import Sizes, Weights
from properties.truth.positions import Rotary
from properties.truth.request import Request


@dataclass(frozen=True, eq=False)
class Case:
    """One example. Every number in it is exact in its dtype, so subject and oracle see the same.

    x: (B, T, d_in); other: (B, T, d_in), a second input of the same shape for laws that compare two;
    cut: a token; what comes after it is its future; dropout: a probability for laws about dropout;
    bias: whether queries, keys and values have one; weights: None where none can be set.
    """

    subject: Subject
    sizes: Sizes
    dtype: str
    x: Array
    other: Array
    weights: Weights | None
    bias: bool
    dropout: float
    cut: int
    seed: int
    about: str = ""
    call: Call | None = None  # what its calls may be told besides; None: nothing

    @property
    def causal(self) -> bool:
        """Whether the future is hidden in the subject's family."""
        return self.subject.family in CAUSAL_FAMILIES

    @property
    def scaled(self) -> bool:
        """Whether the scores are divided by sqrt(head_dim), in the subject's family and by itself."""
        return self.subject.family != "plain" and self.subject.scaled

    @property
    def known(self) -> bool:
        """Whether the oracle can say what the output should be."""
        return self.weights is not None or self.subject.family == "plain"

    @property
    def rotary(self) -> Rotary | None:
        """How queries and keys are turned by their positions, 0 to T - 1; None where they are not."""
        positions = self.subject.positions
        return None if positions is None else positions.rotary(self.sizes.tokens)

    @property
    def angles(self) -> str:
        """The format in which the angles of such turns are computed."""
        positions = self.subject.positions
        return bounds.ANGLES if positions is None else positions.angles(self.dtype)

    def config(self, *, dropout: float = 0.0, layer: int = 0) -> Config:
        """What the constructor is asked for."""
        sizes = self.sizes
        if self.subject.limits.full_context:
            sizes = replace(sizes, context_length=sizes.tokens)
        return Config(sizes, self.bias, dropout, self.dtype, self.seed, layer=layer)

    def build(self, *, dropout: float = 0.0, layer: int = 0) -> Instance:
        """A new instance of the subject carrying the weights."""
        probing.note(self.sizes, self.dtype)
        config, batched = self.config(dropout=dropout, layer=layer), self.subject.has("batched")
        self.subject.limits.require_heads(self.sizes.heads, self.sizes.head_dim)
        try:
            with doing("in construction"):
                module = self.subject.build(config, self.weights)
        except SubjectError:
            raise
        except BaseException as error:  # whatever it is, it is the subject's
            interrupts.subjects_own(error)
            raise SubjectError(f"construction raised {describe(error)}") from error
        module = self.subject.limits.attach(module, config.sizes.context_length, batched)
        return Instance(module, self.dtype, batched=batched)

    def run(
        self,
        x: Array | None = None,
        *,
        training: bool = False,
        dropout: float = 0.0,
        seed: int | None = None,
    ) -> Array:
        """The output (B, T, W) of a new instance, for this case's input unless another is given."""
        x = self.x if x is None else x
        case = self
        if self.subject.limits.full_context:  # then a module is made for the tokens that come
            case = replace(self, sizes=replace(self.sizes, tokens=x.shape[1]))
        probing.note(case.sizes, case.dtype)
        instance = lent(
            self.subject,
            case.config(dropout=dropout),
            self.weights,
            lambda: case.build(dropout=dropout),
        )
        return instance.run(x, training=training, seed=self.seed if seed is None else seed)

    @property
    def output(self) -> Array:
        """The output in eval mode without dropout, computed once for all clauses."""
        probing.note(self.sizes, self.dtype)
        return self._output

    @cached_property
    def _output(self) -> Array:
        return self.run()

    @cached_property
    def request(self) -> Request:
        """Who sees whom, and the scale, as the subject's family has them."""
        tokens = self.x.shape[1]
        asked = oracle.asked(tokens, tokens, causal=self.causal, scaled=self.scaled)
        return self.subject.restored.added_to(asked, tokens, self.sizes.heads)

    @cached_property
    def trace(self) -> Trace:
        """What the oracle says, every step of it."""
        return self.trace_of(self.request)

    def trace_of(self, request: Request) -> Trace:
        """The same of another request."""
        heads, positions = self.sizes.heads, self.rotary
        return oracle.attention(
            self.x, self.weights, heads=heads, request=request, positions=positions
        )

    @cached_property
    def upstream(self) -> Array:
        """(B, T, W), integers from 1 to 4: the factors of the outputs whose sum is differentiated."""
        shape = (self.sizes.batch, self.sizes.tokens, self.sizes.width)
        integers = np.random.default_rng(self.seed).integers(1, 5, size=shape)
        return integers.astype(np.float64)

    @cached_property
    def gradients(self) -> Gradients:
        """What the oracle says of the derivative of sum(upstream * output)."""
        return oracle.gradients(self.x, self.weights, self.trace, self.upstream)

    @cached_property
    def gradient_budget(self) -> GradientBudget:
        """The error a right implementation may make on these gradients."""
        return bounds.gradient_budget(
            self.x,
            self.weights,
            self.trace,
            self.gradients,
            self.upstream,
            self.dtype,
            angles=self.angles,
        )

    @cached_property
    def budget(self) -> Budget:
        """The error a right implementation may make on this example."""
        return self.budget_of(self.trace)

    def budget_of(self, trace: Trace) -> Budget:
        """The same for the trace of another request."""
        return bounds.budget(self.x, self.weights, trace, self.dtype, angles=self.angles)

    def take(
        self,
        *,
        batch: Sequence[int] | None = None,
        tokens: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
        dims: Sequence[int] | None = None,
        inputs: Sequence[int] | None = None,
        keys: Sequence[int] | None = None,
        readers: Sequence[int] | None = None,
    ) -> Case:
        """The smaller case with only these batch items, tokens, heads, head dimensions, input columns, and
        keys of its call where they are other tokens.

        Heads are those of keys and values, each with the heads of queries that read it, of which
        `readers` are kept. A subject whose d_in is its width loses as many input columns as it loses
        others.
        """
        s = self.sizes
        batch, tokens, heads, dims, readers = (
            list(range(size)) if kept is None else list(kept)
            for size, kept in (
                (s.batch, batch),
                (s.tokens, tokens),
                (s.key_heads, heads),
                (s.head_dim, dims),
                (s.shared, readers),
            )
        )
        queries = [head * s.shared + reader for head in heads for reader in readers]
        plain = self.subject.family == "plain"
        square = not plain and not self.subject.has("rectangular")
        if square or inputs is None:
            inputs = range(len(queries) * len(dims) if square else s.d_in)
        columns, of_keys = (
            [head * s.head_dim + dim for head in kept for dim in dims] for kept in (queries, heads)
        )
        rows = list(inputs)
        sizes = Sizes(
            batch=len(batch),
            tokens=len(tokens),
            d_in=len(rows),
            heads=len(queries),
            head_dim=len(rows) if plain else len(dims),
            context_length=s.context_length - s.tokens + len(tokens),
            groups=len(heads) if len(heads) < len(queries) else 0,
        )
        pick = np.ix_(batch, tokens, rows)
        return replace(
            self,
            sizes=sizes,
            x=self.x[pick],
            other=self.other[pick],
            weights=take_weights(self.weights, rows, columns, of_keys),
            cut=sum(token <= self.cut for token in tokens[1:]),
            call=self.call
            and self.call.take(
                batch=batch,
                tokens=tokens,
                heads=heads,
                dims=dims,
                keys=keys,
                readers=None if self.subject.bare else readers,
                inputs=rows,
            ),
        )

    def map_arrays(self, change: Callable[[str, Array], Array]) -> Case:
        """The case with each array replaced by change(name, array)."""
        weights = self.weights
        if weights is not None:
            weights = replace(weights, **{n: change(n, a) for n, a in parameters(weights).items()})
        return replace(
            self,
            x=change("x", self.x),
            other=change("other", self.other),
            weights=weights,
            call=self.call and self.call.map_arrays(change),
        )


def parameters(weights: Weights | None) -> dict[str, Array]:
    """The arrays that are there, by name."""
    if weights is None:
        return {}
    named = {field.name: getattr(weights, field.name) for field in fields(weights)}
    return {name: array for name, array in named.items() if array is not None}


def take_weights(
    weights: Weights | None,
    rows: Sequence[int],
    columns: Sequence[int],
    of_keys: Sequence[int] | None = None,
) -> Weights | None:
    """The parameters of the chosen input rows and of the chosen columns of all heads.

    of_keys: the columns of keys and values, where they are others.
    """
    if weights is None:
        return None
    kept = {}
    for name, array in parameters(weights).items():
        narrow = name.startswith(("key", "value"))
        chosen = columns if of_keys is None or not narrow else of_keys
        if array.ndim == 1:
            kept[name] = array[list(chosen)]
        else:
            kept[name] = array[np.ix_(columns if name == "out" else rows, chosen)]
    return Weights(**kept)
