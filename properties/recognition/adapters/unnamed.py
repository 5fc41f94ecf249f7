"""Linear layers whose names say nothing (fc1 to fc4, Dense_0 to Dense_3, the layers of a list): which of
them makes queries, keys, values and the output is found by trial.

What is asked is what any attention does, right or wrong, so that a wrong scale or mask costs nothing here.

Legend: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from properties.recognition.adapters import calls, projections, trials
from properties.recognition.adapters.blueprint import Blueprint
from properties.recognition.adapters.spellings import LETTER
from properties.subjects.subject import Config

COUNTS = (3, 4)  # of such layers: without an output projection, and with one


def with_unnamed_layers(blueprint: Blueprint, module: nn.Module) -> tuple[Blueprint, nn.Module]:
    """The same, or with the roles of such layers, where a trial tells all of them."""
    structure = projections.find(module, blueprint.owner)
    inner = calls.inside(module)
    layers = {p: part for p, part in inner.named_modules() if isinstance(part, nn.Linear)}
    if len(layers) not in COUNTS or (structure is not None and not in_a_list(structure)):
        return blueprint, module
    sizes = blueprint.first_sizes
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    probe = Probe(lambda: blueprint.attempt(Config(sizes), None), layers, x)
    roles = probe.roles()
    if not roles:
        return blueprint, module
    blueprint = replace(blueprint, layers=tuple(roles.items()))
    return blueprint, blueprint.attempt(Config(sizes), None)


def in_a_list(structure: projections.Structure) -> bool:
    """Whether queries, keys and values are layers of one list, of which only their order says anything."""
    paths = [cell.path.split(".")[:-1] for role in LETTER for cell in structure.cells[role]]
    return len({tuple(path[:-1]) for path in paths}) == 1 and paths[0][-1].isdigit()


@dataclass(frozen=True, eq=False)
class Probe:
    """Calls of new modules with chosen matrices in their layers, and no biases.

    x: (B, T, d_in), of ordinary numbers.
    """

    build: Callable[[], nn.Module]
    layers: Mapping[str, nn.Linear]
    x: Tensor

    def roles(self) -> dict[str, str]:
        """The path of the layer for each role; {} where that is not clear."""
        if self.same_for_other_tokens({}):
            return {}
        through = [p for p in self.layers if self.same_for_other_tokens({p: self.numbers(p, 0.0)})]
        outs = [path for path in through if self.ends_in(path)] if len(self.layers) == 4 else []
        values = [path for path in through if path not in outs]
        if len(values) != 1 or len(outs) != len(self.layers) - 3:
            return {}
        scored = [path for path in self.layers if path not in through]
        keys = [path for path in scored if self.moves_other_rows(path, scored, values[0])]
        if len(keys) != 1:
            return {}
        queries = [path for path in scored if path not in keys]
        return dict(zip((*LETTER, "out"), [*queries, *keys, *values, *outs], strict=False))

    def same_for_other_tokens(self, matrices: Mapping[str, Tensor]) -> bool:
        """Whether the output is the same whatever the tokens are, as it is without values or without the
        output projection; or there is none.
        """
        one, other = (self.output(matrices, x) for x in (self.x, self.x.flip(1) + 1.0))
        return one is None or other is None or trials.same(one, other)

    def ends_in(self, path: str) -> bool:
        """Whether each row of the output is a multiple of what alone the layer can give."""
        direction = self.numbers(path, 1.0)[:, :1]
        output = self.output({path: direction @ self.numbers(path, 1.0)[:1]}, self.x)
        if output is None or output.shape[-1] != len(direction):
            return False
        along = output @ direction @ direction.T / (direction**2).sum()
        return trials.same(output, along)

    def moves_other_rows(self, path: str, scored: list[str], values: str) -> bool:
        """Whether the first token matters to other rows by this layer alone: it reads the first column, the
        other one that is scored the second, where all tokens are alike, and values the rest.
        """
        matrices = {one: self.numbers(one, 1.0, {0} if one == path else {1}) for one in scored}
        matrices[values] = self.numbers(values, 1.0, set(range(2, self.x.shape[-1])))
        before = self.x.clone()
        before[..., 1] = 1.0
        after = before.clone()
        after[:, 0, 0] += 1.0
        one, other = (self.output(matrices, x) for x in (before, after))
        if one is None or other is None:
            return False
        return not trials.same(one[:, 1:], other[:, 1:])

    def numbers(self, path: str, size: float, columns: set[int] | None = None) -> Tensor:
        """Ordinary numbers of this size for a layer's matrix, zero but for these columns."""
        shape = self.layers[path].weight.shape
        found = size * trials.random_input(*shape, seed=1 + list(self.layers).index(path))
        if columns is not None:
            found[:, [column for column in range(shape[1]) if column not in columns]] = 0.0
        return found

    def output(self, matrices: Mapping[str, Tensor], x: Tensor) -> Tensor | None:
        """What a new module gives for tokens x; ordinary numbers are in the layers that are not named."""
        module = self.build()
        with torch.no_grad():
            for path in self.layers:
                layer = calls.inside(module).get_submodule(path)
                assert isinstance(layer, nn.Linear)
                layer.weight.copy_(matrices.get(path, self.numbers(path, 0.5)))
                if layer.bias is not None:
                    layer.bias.zero_()
        found = trials.run(module, x).output
        return None if found is None or found.ndim != x.ndim else found
