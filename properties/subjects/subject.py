"""What an implementation is asked for (sizes, weights) and what it offers (a family, capabilities).

Legend: B batch, T tokens, H heads, D head_dim.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from properties.basics.dtypes import FORMATS, Array
from properties.basics.errors import OutsideError
from properties.subjects import call as calls
from properties.subjects.call import Answer, Arguments, Conventions, Handing, Inputs, Seen
from properties.subjects.limits import Limits
from properties.subjects.positions import Positions, Way
from properties.subjects.restored import Restored
from properties.truth.parameters import Sizes, Weights


@dataclass(frozen=True)
class Traits:
    """What a family is, in a sentence and in parts.

    projected: queries, keys and values are made by weights; causal: the future is hidden; headed:
    there are several heads; joined: they split d_out among them, and an output projection follows.
    """

    text: str
    projected: bool = True
    causal: bool = False
    headed: bool = False
    joined: bool = False


TRAITS = {
    "plain": Traits("simplified self-attention: no weights, no scale, nothing hidden", False),
    "self": Traits("one head with trainable projections, nothing hidden"),
    "causal": Traits("one head with trainable projections, the future hidden", causal=True),
    "wrapper": Traits("causal heads side by side, each d_out wide", causal=True, headed=True),
    "multihead": Traits(
        "causal heads that split d_out among them, then an output projection",
        causal=True,
        headed=True,
        joined=True,
    ),
    "encoder": Traits(
        "heads that split d_out among them, nothing hidden, then an output projection",
        headed=True,
        joined=True,
    ),
    "cross": Traits(
        "heads that attend to a context that is handed in, nothing hidden, then an output projection",
        headed=True,
        joined=True,
    ),
}
FAMILIES = {family: traits.text for family, traits in TRAITS.items()}
CAUSAL_FAMILIES = frozenset(family for family, traits in TRAITS.items() if traits.causal)
HEADED_FAMILIES = frozenset(family for family, traits in TRAITS.items() if traits.headed)
JOINED_FAMILIES = frozenset(family for family, traits in TRAITS.items() if traits.joined)
PROJECTED_FAMILIES = frozenset(family for family, traits in TRAITS.items() if traits.projected)

CAPABILITIES = {
    "projections": "the weights that make queries, keys and values can be set",
    "out-projection": "there is an output projection, and its weights can be set",
    "out-bias": "the output projection has a bias",
    "qkv-bias": "the constructor chooses whether queries, keys and values have a bias",
    "always-biased": "queries, keys and values always have a bias",
    "dropout": "the constructor takes a dropout probability",
    "own-head-dim": "the constructor takes head_dim beside d_out and the number of heads",
    "groups": "the constructor takes the number of heads of keys and values beside that of queries",
    "one group": "all heads of queries read one head of keys and values",
    "context-length": "the constructor takes the largest number of tokens",
    "context-width": "the constructor takes the width of a context beside that of the input",
    "rectangular": "d_in may differ from the width of all heads together",
    "batched": "the input may have a batch axis: (B, T, d_in)",
    "unbatched": "the input may be one sequence: (T, d_in)",
    "function": "a function: it has no constructor that could refuse anything; its module has "
    "`handed_over(x)`, the queries, keys and values of x, and `attend(query, key, value)`",
    "module": "a torch.nn.Module with parameters, a state_dict and modes",
    "gradients": "the output has a gradient with respect to the input",
    "cache": "it goes on from a past that is kept: `begin` and `step`",
    "reset cache": "`begin` forgets what a module has kept of a sequence before",
    "cache of the caller": "`step` leaves the past that it is given: several sequences go on from one",
    "layers share a cache": "several layers write to one cache, by their index: `begin_shared`",
    "padding anywhere": "padding may be any token of an item, not the last ones alone",
    "padding sees nothing": "a query that is padding itself gets what one gets that sees nothing",
    "padding beside a cache": "a step may be told which tokens are padding: `step_padded`",
    "always causal": "a call with other keys hides the future without being told so",
    "mask in place of the future": "a call with a mask hides what this hides, and no future besides",
    "dropout of calls": "a call of the function itself takes a probability of dropout",
    "dropout-shared-over-batch": "declared: one draw of dropout serves all items of a batch",
    "dropout-shared-over-heads": "declared: one draw of dropout serves all heads",
    "other arrays": "its numbers are in arrays of another library than torch: what is torch's alone is "
    "not asked",
    "on a device": "it is called with copies on a device: what looks into such a call is not asked",
    "program": "a program of its own, in any language, that answers calls by a protocol",
    "widens": "a number among its arrays may widen them, as is usual in its library",
    "positions": "queries and keys are turned by where their tokens stand (rotary positions)",
    "partly turned": "positions turn some of the columns of a head, and leave the others",
    "unknown places": "it has relative positions that cannot be put out of action, as its weights "
    "cannot be set: what the order of the tokens does is not known",
    "own norms": "queries and keys are normalised by layers of the module, which can be put back",
    "own cap": "the constructor takes a bound on the scores",
    "own window": "the constructor takes how far back a query sees",
    "own sink": "the module has sinks, which can be filled",
    "own slopes": "the module has slopes of ALiBi, which can be put back",
    "float64": "it runs in float64",
    "half-precision": "it runs in bfloat16 or float16",
    "float16": "it runs in float16",
    "wide format": "it runs in float64 or float32",
    "finer than bfloat16": "it runs in a format of more digits than bfloat16 has",
}

_ONE_HEAD = frozenset({"projections", "float64", "wide format", "finer than bfloat16", "gradients"})
_CAUSAL = _ONE_HEAD | {"dropout", "context-length", "qkv-bias", "batched", "module"}
EXPECTED = {
    "plain": frozenset({"float64", "gradients"}),
    "self": _ONE_HEAD,
    "causal": _CAUSAL,
    "wrapper": _CAUSAL,
    "multihead": _CAUSAL | {"out-projection"},
    "encoder": _ONE_HEAD | {"batched", "module", "out-projection"},
    "cross": _ONE_HEAD | {"batched", "module", "out-projection"},
}
"""What the sources give each family. A clause that needs more than this is asked of those subjects
that offer it, and is no part of the spec for the others."""


def further(known: Collection[str], family: str) -> set[str]:
    """What follows from capabilities, of modules and of functions alike.

    shared heads: several heads of queries can read one head of keys and values; number of groups: how
    many of these there are can be chosen; hides: something can be hidden, by a call or by the module.
    """
    of_modules = bool({"groups", "one group"} & set(known))
    follows = {
        "shared heads": of_modules or "takes groups" in known,
        "number of groups": bool({"takes groups", "groups"} & set(known)),
        "hides": "hides by calls" in known or (of_modules and family in CAUSAL_FAMILIES),
    }
    return {name for name, there in follows.items() if there}


@dataclass(frozen=True)
class Config:
    """What a constructor is asked for.

    odd: columns that d_out is asked for beyond H * D, for the law that such a request is refused; layer:
    which of several layers that share a cache it is, for who is told.
    """

    sizes: Sizes
    bias: bool = False
    dropout: float = 0.0
    dtype: str = "float64"
    seed: int = 0
    odd: int = 0
    layer: int = 0

    @property
    def width(self) -> int:
        """The d_out to ask a constructor for, where d_out is that of all heads together."""
        return self.sizes.width + self.odd


OF_CONTEXT = frozenset({"context_mask", "context_bias", "context_padding"})
LATER = {"again": "{} is handed over again", "none": "{}=None"}
"""What a call is told of a context that was kept in an earlier one, and in words, of its argument."""


class Subject(ABC):
    """An implementation under test. Subclass it to write an adapter.

    An adapter names its `family` (a key of `FAMILIES`) and `capabilities` (keys of
    `CAPABILITIES`), and builds the implementation with the weights it is handed. `lacking` says why
    a capability is absent and what would provide it; `matched` says which of the
    implementation's names carries which of ours; `unasked` names each argument that attention gives
    a meaning and that keeps its default here, with that meaning: what it does is not judged, so a
    verdict is one in part. All three are printed. `dropout_shared` declares a convention of some
    libraries, which is a fault where nobody declares it.
    """

    name: str = ""
    family: str
    capabilities: frozenset[str] = frozenset()
    dtypes: tuple[str, ...] = ("float64", "float32")
    differentiable: bool = True
    dropout_shared: tuple[str, ...] = ()  # "batch", "heads": what one draw serves by convention
    matched: Mapping[str, str] = {}
    lacking: Mapping[str, str] = {}
    unasked: Mapping[str, str] = {}
    notes: tuple[str, ...] = ()
    placed: Way = "unturned"  # how queries that positions turn meet the tokens of a context
    restored: Restored = Restored()  # what is at work of what is put out of action elsewhere
    limits: Limits = Limits()  # found by trying; see properties/runs/domain.py
    refused: tuple[str, ...] = ()  # the formats that it says itself it does not take
    source: Mapping[str, Any] = {}  # where it is defined, filled in when it is found
    options: tuple[str, ...] = ()  # of the command line, without which it would not be found so
    takes: Mapping[str, str] = {}  # what a call may be told (`call.ROLES`), and by which argument
    conventions: Conventions = Conventions()
    origins: Mapping[str, str] = {}  # how each convention is known: see `call.ORIGINS`
    layout: str = ""  # the order of the axes of queries, keys and values, where a call has them
    # Parameters that the definition has not, and what each is filled with so that nothing of it is left.
    extras: Mapping[str, float | str | None] = MappingProxyType({})
    spare_biases: tuple[str, ...] = ()  # roles that always have a bias, where keys never have
    scaled: bool = True  # whether scores are divided by sqrt(head_dim) where no scale is told
    positions: Positions | None = None  # by which queries and keys are turned; None: they are not
    cache: str = ""  # how a past is kept, in words, where that was found
    cached_in: tuple[str, ...] = tuple(FORMATS)  # the formats in which it runs
    masked_steps: tuple[str, ...] = ()  # "mask", "bias": what of pairs a step may be told
    one_mask: bool = False  # whether such a mask is for all items at once
    later: tuple[
        str, ...
    ] = ()  # of `LATER`: how calls go on with a context that is kept; () for not
    kept_in: tuple[str, ...] = tuple(FORMATS)  # the formats in which they run
    bare: bool = False  # whether `ask` needs no module
    compiled: bool = False  # whether calls are compiled for each shape: then few shapes are asked
    modes: bool = False  # whether a module's calls may be made in training, with gradients

    @abstractmethod
    def build(self, config: Config, weights: Weights | None) -> Any:
        """A new torch module for `config`, carrying `weights`.

        `weights` is None for the plain family and where the projections cannot be set: the
        module then keeps its own initial parameters. The module maps (B, T, d_in) to
        (B, T, H*D), or (T, d_in) to (T, H*D) where only "unbatched" is claimed. The weights
        are exact in config.dtype: convert the module before they are copied into it.
        """

    def refill(self, module: Any, config: Config, weights: Weights | None) -> bool:
        """Write other weights into a module that was built for the same config; False if it cannot be."""
        return False

    def collect(self, named: Mapping[str, Array], config: Config) -> Weights | None:
        """Arrays in the shapes of the module's own parameters, by their names, in our layout.

        The inverse of what `build` does with weights; used for gradients. None where an adapter
        does not say: then the gradients of parameters are not compared.
        """
        return None

    def ask(self, module: Any, inputs: Inputs, arguments: Arguments, dtype: str) -> Answer:
        """The answer, in eval mode, of a module that `build` made (None if the subject is `bare`).

        inputs: (see `Inputs`) in numbers that are exact in `dtype`; arguments: all of them are among
        what the subject `takes`. Only subjects that take something are asked so.
        """
        raise NotImplementedError

    def ask_in(
        self, module: Any, inputs: Inputs, arguments: Arguments, dtype: str, handing: Handing
    ) -> Answer:
        """The same as `ask`, of a module in a mode of its own. Only subjects with `modes` are asked so."""
        raise NotImplementedError

    def module_gradient(
        self, module: Any, inputs: Inputs, arguments: Arguments, upstream: Array, dtype: str
    ) -> Array:
        """The derivative of sum(upstream * output) of such a call by x (B, T, d_in), in eval mode;
        upstream is (B, T, W). Only subjects with `modes` are asked so.
        """
        raise NotImplementedError

    def ask_handing(
        self, inputs: Inputs, arguments: Arguments, dtype: str, handing: Handing
    ) -> Answer:
        """The answer to a call whose tensors are handed over in a way of their own. Only functions that
        are told by calls are asked so.
        """
        raise NotImplementedError

    def call_gradients(
        self, inputs: Inputs, arguments: Arguments, upstream: Array, dtype: str
    ) -> dict[str, Array]:
        """The derivatives of sum(upstream * output) of such a call by each input and the bias, by name.

        upstream: (B, H, T, E), of heads that are not yet side by side. Only subjects that are `bare`
        and have gradients are asked so.
        """
        raise NotImplementedError

    def context_gradients(
        self, module: Any, inputs: Inputs, arguments: Arguments, upstream: Array, dtype: str
    ) -> dict[str, Array]:
        """The derivatives of sum(upstream * output) by "x" and "context", in eval mode.

        module: as `build` made it; upstream: (B, T, W). Only modules that take a context are asked so.
        """
        raise NotImplementedError

    def begin(self, module: Any, batch: int) -> Any:
        """The state before the first token of so many sequences; the module keeps nothing of others.

        Only subjects with the capability "cache" are asked for it and for `step`. Where keys and values
        are kept in the module, a state may be None.
        """
        raise NotImplementedError

    def begin_shared(self, module: Any, batch: int) -> Any:
        """The same for two layers, which go on from one state each with its own `step`.

        Only subjects with the capability "layers share a cache" are asked; `build` gets the index of a
        layer in its config.
        """
        raise NotImplementedError

    def step(self, module: Any, state: Any, x: Array, dtype: str) -> tuple[Array, Any]:
        """The output (B, T, W) in eval mode for the next tokens x (B, T, d_in), and the state after them.

        state: as `begin` or `step` gave it last. What the module raises where the tokens do not fit goes
        through.
        """
        raise NotImplementedError

    def step_padded(
        self, module: Any, state: Any, x: Array, real: Seen, dtype: str
    ) -> tuple[Array, Any]:
        """The same where some tokens are padding. real: (B, S), of all tokens so far and these.

        Only subjects with the capability "padding beside a cache" are asked for it.
        """
        raise NotImplementedError

    def step_masked(
        self, module: Any, state: Any, x: Array, told: Arguments, dtype: str
    ) -> tuple[Array, Any]:
        """The same where the step is told of pairs. told: a mask or a bias, (B, 1, T, S), for the tokens of
        the step and all so far; whatever of these comes after its query is hidden in it, too.

        Only subjects with `masked_steps` are asked for it.
        """
        raise NotImplementedError

    def begin_beside(self, module: Any, batch: int) -> Any:
        """The state before the first call with a context, for so many items; nothing of others is kept.

        Only modules with `later` are asked for it and for `step_beside`.
        """
        raise NotImplementedError

    def step_beside(
        self,
        module: Any,
        state: Any,
        inputs: Inputs,
        arguments: Arguments,
        dtype: str,
        *,
        handed: str = "again",
    ) -> tuple[Array, Any]:
        """The output (B, T, W) in eval mode for the next x (B, T, d_in), and the state after it.

        state: as `begin_beside`, where keys and values are made of the context among the inputs, or
        `step_beside` gave it, where they are those that were kept; handed: one of `later`, "again" in the
        first call.
        """
        raise NotImplementedError

    def restoring(self, what: Restored) -> Subject:
        """The same with this at work, of what it has and is put out of action.

        Only subjects with the capability "own cap", "own window", "own slopes" or "own sink" are asked;
        what stands in for one has it not.
        """
        raise OutsideError(f"{self.name} with what is put out of action")

    def with_norms(self) -> Subject:
        """The same with its norms of queries and keys. Only where it has the capability "own norms"."""
        raise OutsideError(f"{self.name} with its norms")

    def norms(self, module: Any, x: Array, dtype: str) -> dict[str, list[Array]]:
        """What goes into each norm of queries or keys, and then what comes out of it, call by call.

        Only subjects with the capability "own norms" are asked.
        """
        raise NotImplementedError

    def held_to(self, declared: Mapping[str, str]) -> Subject:
        """The same, held to these conventions (see `call.ANSWERS`) instead of what was found."""
        held = copy.copy(self)
        held.conventions = replace(self.conventions, **declared)
        held.origins = {**self.origins, **dict.fromkeys(declared, "declared")}
        return held

    @property
    def offers(self) -> frozenset[str]:
        """The capabilities, with those that follow from the formats it runs in and gradients."""
        followed = {
            "gradients": self.differentiable,
            "gradients of calls": self.differentiable and self.bare and bool(self.takes),
            "gradients of contexts": self.differentiable
            and "context" in self.takes
            and type(self).context_gradients is not Subject.context_gradients,
            "modes of calls": self.modes and bool(self.takes),
            "gradients of modules": self.modes and self.differentiable and bool(self.takes),
            "dropout-shared-over-batch": "batch" in self.dropout_shared,
            "dropout-shared-over-heads": "heads" in self.dropout_shared,
            "masks beside a cache": bool(self.masked_steps),
            "context is kept": bool(self.later),
            "hides a kept context": bool(self.later) and not OF_CONTEXT.isdisjoint(self.takes),
            "positions": self.positions is not None,
            "partly turned": self.positions is not None and self.positions.portion < 1.0,
            "float64": "float64" in self.dtypes,
            "float16": "float16" in self.dtypes,
            "half-precision": not {"bfloat16", "float16"}.isdisjoint(self.dtypes),
            "wide format": not {"float64", "float32"}.isdisjoint(self.dtypes),
            "finer than bfloat16": set(self.dtypes) != {"bfloat16"},
        }
        found = {name for name, there in followed.items() if there}
        known = self.capabilities | found | calls.offered(self.takes, self.conventions)
        return known | further(known, self.family)

    def has(self, capability: str) -> bool:
        """Whether this implementation offers `capability`."""
        return capability in self.capabilities or capability in self.offers
