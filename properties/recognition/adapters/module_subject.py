"""A torch module whose constructor and matrices are understood, as a subject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from properties.basics.dtypes import Array
from properties.recognition.adapters import extras, projections, restoring
from properties.recognition.adapters.blueprint import Blueprint
from properties.recognition.adapters.draft import Draft, found_in
from properties.recognition.adapters.loading import collect, load
from properties.recognition.adapters.projections import Structure
from properties.recognition.asking import beside_a_cache
from properties.recognition.asking.caches import CacheManner, State
from properties.recognition.asking.modules import PLAINLY, ModuleManner
from properties.subjects.call import Answer, Arguments, Handing, Inputs, Seen
from properties.subjects.instance import in_eval, in_format
from properties.subjects.restored import Restored
from properties.subjects.subject import Config, Subject
from properties.truth.parameters import Sizes, Weights


class ModuleSubject(Subject):
    """A torch module whose constructor and matrices are understood."""

    def __init__(self, blueprint: Blueprint, draft: Draft) -> None:
        """Take over what the draft has found out."""
        self.name = blueprint.owner
        self.family = draft.family
        self.capabilities = frozenset(draft.capabilities)
        self.matched = draft.matched
        self.lacking = draft.lacking
        self.unasked = draft.unasked
        self.notes = tuple(draft.notes)
        self.blueprint = blueprint
        self.scheme = draft.scheme
        self.residual = draft.residual
        self.complex_numbers: tuple[str, ...] = ()
        self.own_context = draft.own_context
        self.spare_biases = draft.spare_biases
        self.manner = ModuleManner()
        self.tokens: tuple[str, ...] = ()  # arguments for queries, keys and values, where all three
        self.blanks: tuple[str, ...] = ()  # have to be given, and others, which may be None
        self.remembering = CacheManner()
        self.keeping = CacheManner()  # the same of a context, where there are `later` calls
        self.sizes_of = WeakKeyDictionary[nn.Module, Sizes]()  # of what is built, for its cache
        self.normed: tuple[str, ...] = ()  # the paths of norms of queries and keys that are at work
        self.slopes: tuple[str, ...] = ()  # of ALiBi, among `extras`
        self.switches: dict[str, str] = {}  # the argument or tensor for each part of `Restored`
        self.window_counts_oneself = False
        self.padded_whole = True  # whether a step is told of all tokens so far which are padding
        self.layer = ""  # the argument of forward for the index of the layer
        self.layers = WeakKeyDictionary[nn.Module, int]()  # of what is built
        self.laid = ""  # how a mask of pairs is laid out for a step, a key of `beside_a_cache.LAID`
        self.built = lru_cache(maxsize=4)(self.blank)  # gradients of one case are collected often

    def build(self, config: Config, weights: Weights | None) -> nn.Module:
        """A new module in the config's dtype; SubjectError if a matrix has not the size needed."""
        module = self.blueprint.construct(config, self.family)
        module = in_format(module, getattr(torch, config.dtype))  # weights are rounded once
        self.sizes_of[module], self.layers[module] = config.sizes, config.layer
        if self.residual:
            layers = dict(module.named_modules())
            for path in self.residual:
                if isinstance(
                    layer := layers.get(path), nn.Dropout
                ):  # none where nothing is dropped
                    layer.p = 0.0
        self.fill(module, config, weights)
        return module

    def ask(self, module: nn.Module, inputs: Inputs, arguments: Arguments, dtype: str) -> Answer:
        """The answer of forward, told masks as it takes them."""
        return self.held.ask(module, inputs, arguments, dtype)

    def ask_in(
        self, module: nn.Module, inputs: Inputs, arguments: Arguments, dtype: str, handing: Handing
    ) -> Answer:
        """The same in training, or with gradients recorded."""
        return self.held.ask(module, inputs, arguments, dtype, handing)

    def module_gradient(
        self, module: nn.Module, inputs: Inputs, arguments: Arguments, upstream: Array, dtype: str
    ) -> Array:
        """By x, of such a call."""
        return self.held.gradients(module, inputs, arguments, upstream, dtype)["x"]

    @property
    def held(self) -> ModuleManner:
        """How forward is called by the conventions that it is held to."""
        return replace(self.manner, conventions=self.conventions)

    def context_gradients(
        self, module: nn.Module, inputs: Inputs, arguments: Arguments, upstream: Array, dtype: str
    ) -> dict[str, Array]:
        """By x and the context, as backward() leaves them."""
        return self.held.gradients(module, inputs, arguments, upstream, dtype)

    def begin(self, module: nn.Module, batch: int) -> State:
        """Before the first token; what the module has kept is forgotten if it can be."""
        return self.remembering.begin(module, self.sizes_of[module], batch)

    def begin_shared(self, module: nn.Module, batch: int) -> State:
        """The same for two layers."""
        return self.remembering.begin(module, self.sizes_of[module], batch, layers=2)

    def step(self, module: nn.Module, state: State, x: Array, dtype: str) -> tuple[Array, State]:
        """The output for the next tokens, and the state after them."""
        return self.step_told(module, state, x, {}, dtype)

    def step_padded(
        self, module: nn.Module, state: State, x: Array, real: Seen, dtype: str
    ) -> tuple[Array, State]:
        """The same, told which tokens are padding: of all so far, or of these alone, as it is taken."""
        told = real if self.padded_whole else real[:, -x.shape[1] :]
        further = self.told_beside(Arguments(padding=told), dtype)
        return self.step_told(module, state, x, further, dtype)

    def step_masked(
        self, module: nn.Module, state: State, x: Array, told: Arguments, dtype: str
    ) -> tuple[Array, State]:
        """The same, told a mask of pairs, which is laid out as it is taken."""
        room = self.sizes_of[module].context_length
        further = self.told_beside(beside_a_cache.laid_out(told, self.laid, room), dtype)
        return self.step_told(module, state, x, further, dtype)

    def step_told(
        self, module: nn.Module, state: State, x: Array, further: Mapping[str, Any], dtype: str
    ) -> tuple[Array, State]:
        """A step that is told this, by the forward's own names, and the index of its layer."""
        layer = {self.layer: self.layers[module]} if self.layer else {}
        return self.remembering.step(module, state, x, dtype, {**further, **layer})

    def begin_beside(self, module: nn.Module, batch: int) -> State:
        """Before the first call with a context."""
        return self.keeping.begin(module, self.sizes_of[module], batch)

    def step_beside(
        self,
        module: nn.Module,
        state: State,
        inputs: Inputs,
        arguments: Arguments,
        dtype: str,
        *,
        handed: str = "again",
    ) -> tuple[Array, State]:
        """A call with a context, which is handed over again, or None in its place."""
        return self.step_by(self.keeping, module, state, inputs, arguments, dtype, handed=handed)

    def step_by(
        self,
        manner: CacheManner,
        module: nn.Module,
        state: State,
        inputs: Inputs,
        arguments: Arguments,
        dtype: str,
        *,
        handed: str,
    ) -> tuple[Array, State]:
        """The same where a context is kept in this manner."""
        given = self.held.given(module, inputs, arguments, dtype)
        del given["x"]
        if handed == "none":
            given[self.takes["context"]] = None
        return manner.step(module, state, inputs["x"], dtype, given)

    def told_beside(self, told: Arguments, dtype: str) -> dict[str, Any]:
        """The arguments of a step by the forward's own names; a causal flag keeps its default."""
        held, roles = self.held, {**PLAINLY, "causal": ""}
        options = held.options(told, getattr(torch, dtype), roles)
        alone = held.without_items(options)
        return {name: part[0] if name in alone else part for name, part in options.items()}

    def restoring(self, what: Restored) -> ModuleSubject:
        """The same with it at work."""
        return restoring.restored(self, what)

    def with_norms(self) -> ModuleSubject:
        """The same with its norms where they stand."""
        other = restoring.rebuilt(self, replace(self.blueprint, taken_out=()))
        other.normed = self.blueprint.taken_out
        return other

    def norms(self, module: nn.Module, x: Array, dtype: str) -> dict[str, list[Array]]:
        """What goes into each norm that is taken out elsewhere, and what comes out of it."""
        found: dict[str, list[Array]] = {path: [] for path in self.normed}
        for path, kept in found.items():
            module.get_submodule(path).register_forward_hook(restoring.noting(kept))
        with torch.no_grad():
            in_eval(module)(torch.tensor(x, dtype=getattr(torch, dtype)))
        return found

    def fill(self, module: nn.Module, config: Config, weights: Weights | None) -> None:
        """Write the weights, if there are any and they can be set, into a module built before."""
        if weights is not None and self.has("projections"):
            structure = found_in(module, self.blueprint.owner, self.has("out-projection"))
            load(structure, weights, config.sizes, self.scheme)
            extras.fill(module, self.extras)

    def refill(self, module: nn.Module, config: Config, weights: Weights | None) -> bool:
        """The same with other weights."""
        self.fill(module, config, weights)
        return True

    def collect(self, named: Mapping[str, Array], config: Config) -> Weights | None:
        """Arrays by the names of the module's parameters, in our layout; None without projections."""
        if not self.has("projections"):
            return None
        module, structure = self.built(config)
        if any(cell.derived for cell in structure.all_cells()):
            return None  # what comes back to the parameters is not the gradient of the weights
        owners = {projections.place(p): (name, p) for name, p in module.named_parameters()}

        def replaced(own: Tensor) -> Tensor:
            """What `named` has in place of a parameter or a view of one; zeros if it is none."""
            if projections.place(own) not in owners:
                return torch.zeros(own.shape)
            name, parameter = owners[projections.place(own)]
            whole = torch.tensor(named[name])
            # A view's strides count in the parameter's memory, which may be that of a transpose.
            laid = torch.empty_strided(whole.shape, parameter.stride(), dtype=whole.dtype)
            offset = own.storage_offset() - parameter.storage_offset()
            return laid.copy_(whole).as_strided(own.shape, own.stride(), offset)

        return collect(structure, replaced, config.sizes, self.scheme)

    def blank(self, config: Config) -> tuple[nn.Module, Structure]:
        """A module of these sizes, for the sake of its structure."""
        module = self.blueprint.construct(config, self.family)
        return module, found_in(module, self.blueprint.owner, self.has("out-projection"))
