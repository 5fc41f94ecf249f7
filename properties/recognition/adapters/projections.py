"""The matrices of a built module, found by name: what makes queries, keys, values and the output.

Looked for in the module itself, in a list of heads, then in its parts. They may be linear layers,
other layers with a two-dimensional weight, or raw matrices of either orientation; one for all heads
or one for each; and one for queries, keys and values together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from properties.recognition.adapters import messages
from properties.recognition.adapters.derived import Derived, all_derived, derived
from properties.recognition.adapters.low_rank import is_added, keeps_lengths
from properties.recognition.adapters.spellings import LETTER, bias_role, fused_order, parameter_role

TOLD = "layers_by_role"
"""The attribute of a module that says which layers are for queries, keys, values and the output."""
MOST = 9  # parameters that a message shows


@dataclass(frozen=True, eq=False)
class Cell:
    """One matrix of the implementation; it carries the columns of all heads, or of one.

    rows: True if the matrix is (out, in) as in nn.Linear, None if only its shape or a trial tells;
    order: of a matrix for several roles, the order of its parts ("qkv"), else ""; derived: how the
    matrix is computed at each use, None if it is simply held; bias_alone: whether the bias is of one role,
    though the matrix is for several.
    """

    path: str
    weight: Tensor
    bias: Tensor | None = None
    rows: bool | None = None
    order: str = ""
    bias_path: str = ""
    derived: Derived | None = None
    bias_alone: bool = False


@dataclass(frozen=True, eq=False)
class Structure:
    """The matrices of a module: a cell for all heads, or one for each head, in order.

    listed: whether they lie in a list of heads.
    """

    cells: dict[str, tuple[Cell, ...]]  # query, key, value, and out where there is one
    listed: bool = False

    @property
    def out(self) -> Cell | None:
        """The output projection."""
        return self.cells["out"][0] if "out" in self.cells else None

    def frozen(self) -> list[nn.Parameter]:
        """The parameters among them that are not trained."""
        tensors = [tensor for cell in self.all_cells() for tensor in (cell.weight, cell.bias)]
        return [t for t in tensors if isinstance(t, nn.Parameter) and not t.requires_grad]

    def all_cells(self) -> list[Cell]:
        """Every cell of every role."""
        return [cell for group in self.cells.values() for cell in group]


def find(module: nn.Module, owner: str) -> Structure | None:
    """The matrices of `module`, or None; QuestionError if two layers could be one of them."""
    found = search(module, "", owner)
    if found is None:
        return None
    return found if found.out else by_elimination(module, found)


def left_over(module: nn.Module, found: Structure) -> list[str]:
    """The names of the parameters that none of these matrices is or is made of."""
    taken = {place(t) for c in found.all_cells() for t in (c.weight, c.bias) if t is not None}
    made = [cell.derived for cell in found.all_cells() if cell.derived is not None]
    taken |= {place(parameter) for one in made for parameter in one.originals}
    return [name for name, parameter in module.named_parameters() if place(parameter) not in taken]


def search(module: nn.Module, prefix: str, owner: str) -> Structure | None:
    """The matrices of `module` itself, of its list of heads, or of the one part that has any."""
    groups = own_cells(module, prefix, owner)
    if set(LETTER) <= set(groups):
        return Structure(groups, listed=len(groups["query"]) > 1)
    below = {
        name: found
        for name, child in [*module.named_children(), *plain_lists(module)]
        if (found := search_child(child, f"{prefix}{name}.", owner)) is not None
    }
    if len(below) != 1:
        return None
    found = next(iter(below.values()))
    if found.out is None and "out" in groups:
        return replace(found, cells={**found.cells, "out": groups["out"]})
    return found


def plain_lists(module: nn.Module) -> Iterator[tuple[str, nn.ModuleList]]:
    """The lists of modules that it keeps without registering them, which works all the same."""
    for name, value in vars(module).items():
        if (
            isinstance(value, list | tuple)
            and value
            and all(isinstance(v, nn.Module) for v in value)
        ):
            yield name, nn.ModuleList(value)


def search_child(child: nn.Module, prefix: str, owner: str) -> Structure | None:
    """The matrices of a part: a list of heads, or a module that does the work."""
    if isinstance(child, nn.ModuleList):
        return search_heads(child, prefix, owner)
    return search(child, prefix, owner)


def search_heads(heads: nn.ModuleList, prefix: str, owner: str) -> Structure | None:
    """The matrices of a list of heads, each of which has its own three."""
    found = [search(head, f"{prefix}{number}.", owner) for number, head in enumerate(heads)]
    whole = [structure for structure in found if structure is not None]
    if not whole or len(whole) < len(found):
        return None
    cells = {role: tuple(c for s in whole for c in s.cells[role]) for role in LETTER}
    return Structure(cells, listed=True)


def own_cells(module: nn.Module, prefix: str, owner: str) -> dict[str, tuple[Cell, ...]]:
    """The cells that `module` holds under names with a meaning, by role."""
    named: dict[str, dict[str, tuple[Cell, ...]]] = {}
    for name, value in members(module):
        for role in roles_of(name):
            cells = cells_of(joined(value) if role == "out" else value, prefix + name)
            if isinstance(value, Tensor) and (made := derived(module, name)) is not None:
                cells = tuple(replace(cell, derived=made) for cell in cells)
            if cells:
                named.setdefault(role, {})[prefix + name] = cells
    if not named.keys() & LETTER.keys() or TOLD in vars(module):
        named |= {role: {c.path: (c,)} for role, c in dealt(module, prefix).items()}
    complete = all(any(letter_in(letter, role) for role in named) for letter in LETTER)
    groups = {
        role: only(found, role, owner, module)
        for role, found in named.items()
        if len(found) == 1 or (complete and not (role == "projection" and "out" in named))
    }
    if "projection" in groups:
        groups.setdefault("out", groups.pop("projection"))
    groups = with_fused(groups)
    if len(groups.get("out", ())) > 1:  # an output projection for each head is not ours
        del groups["out"]
    return with_biases(groups, module, prefix)


def dealt(module: nn.Module, prefix: str) -> dict[str, Cell]:
    """The layers that a module is said to have for each role; else those of the only list of three or four
    linear ones that are alike: for queries, keys and values, and the fourth for the output.
    """
    if TOLD in vars(module):
        told = vars(module)[TOLD]
        return {r: cells_of(module.get_submodule(p), f"{prefix}{p}")[0] for r, p in told}
    lists = [
        (name, part) for name, part in module.named_children() if isinstance(part, nn.ModuleList)
    ]
    if len(lists) != 1:
        return {}
    name, layers = lists[0]
    shapes = {tuple(p.weight.shape) if isinstance(p, nn.Linear) else () for p in layers}
    if len(layers) not in (3, 4) or len(shapes) > 1 or shapes == {()}:
        return {}
    cells = [cells_of(part, f"{prefix}{name}.{n}")[0] for n, part in enumerate(layers)]
    return dict(zip((*LETTER, "out"), cells, strict=False))


def letter_in(name: str, role: str) -> bool:
    """Whether the matrix for `role`, perhaps one for several roles, serves query, key or value."""
    return role == name or LETTER[name] in role.partition(":")[2]


def members(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Submodules, parameters, buffers, plain and computed tensors that `module` holds, by name."""
    yield from ((name, part) for name, part in module._modules.items() if part is not None)
    if parametrize.is_parametrized(module):
        yield from ((name, getattr(module, name)) for name in computed_names(module))
    yield from module._parameters.items()
    yield from module._buffers.items()
    yield from ((name, value) for name, value in vars(module).items() if isinstance(value, Tensor))


def computed_names(module: nn.Module) -> list[str]:
    """The names of the tensors that parametrizations compute."""
    return [one.name for one in all_derived(module) if one.module is module]


def roles_of(name: str) -> list[str]:
    """The role that a name says: query, key, value, out, projection, or "fused:qkv"."""
    role = parameter_role(name)
    order = fused_order(name)
    return [role] if role else [f"fused:{order}"] if order else []


def cells_of(value: Any, path: str) -> tuple[Cell, ...]:
    """The cells that one member holds: none, one, or one for each head."""
    if isinstance(value, nn.ModuleList | nn.ParameterList):
        return tuple(c for n, v in enumerate(value) for c in cells_of(v, f"{path}.{n}"))
    if isinstance(value, nn.Sequential):  # a projection followed by dropout
        inside = [cell for n, layer in enumerate(value) for cell in cells_of(layer, f"{path}.{n}")]
        return tuple(inside) if len(inside) == 1 else ()
    if isinstance(value, nn.Module):
        weight = getattr(value, "weight", None)
        if weight is None and not own_parameters(value):
            return around_one(value, path)
        weight = of_one_pixel(value, weight)
        if not isinstance(weight, Tensor) or weight.ndim != 2 or keeps_lengths(value):
            return ()
        rows = True if isinstance(value, nn.Linear | nn.modules.conv._ConvNd) else None
        bias = getattr(value, "bias", None)
        made = derived(value, "weight")
        weight = weight if made is None else made.value()  # as of now
        return (Cell(f"{path}.weight", weight, bias, rows, "", f"{path}.bias", made),)
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return ()
    if value.ndim == 3:  # (H, d_in, D)
        return tuple(Cell(f"{path}[{head}]", part) for head, part in enumerate(value.detach()))
    return (Cell(path, value),) if value.ndim == 2 else ()


def own_parameters(module: nn.Module) -> list[str]:
    """The names of the parameters that it holds itself, but for matrices of low-rank additions."""
    found = module._parameters.items()
    return [n for n, p in found if not is_added(n) or p is None or p.ndim != 2]


def around_one(around: nn.Module, path: str) -> tuple[Cell, ...]:
    """The cell inside a module of one's own around a layer, and what is added to it aside; none if there
    are several, or what is added is not zero.
    """
    added = [p for name, p in around.named_parameters() if is_added(name)]
    zero = any(not p.any() for p in added)
    parts = [(name, p) for name, p in around.named_children() if not (zero and is_added(name))]
    if added and not zero and around._parameters:
        return ()
    inside = [cell for name, part in parts for cell in cells_of(part, f"{path}.{name}")]
    return tuple(inside) if len(inside) == 1 else ()


def of_several(module: nn.Module) -> str:
    """The path of the first part with a role that is several linear layers; "" where there is none."""
    for path, part in module.named_modules():
        layers = [p for p in part.modules() if isinstance(p, nn.Linear) and p is not part]
        named = roles_of(path.rpartition(".")[2])
        if (
            named
            and len(layers) > 1
            and not isinstance(part, nn.ModuleList)
            and not cells_of(part, path)
        ):
            return path
    return ""


def joined(value: Any) -> Any:
    """A matrix for each head, (H, D, H * D), as the one that adds up what they give; all else as it is."""
    if not isinstance(value, Tensor) or value.ndim != 3 or not value.is_contiguous():
        return value
    heads, head_dim, width = value.shape
    return value.detach().flatten(0, 1) if heads * head_dim == width else value


def of_one_pixel(layer: nn.Module, weight: Any) -> Any:
    """The matrix (out, in) of a convolution that sees one pixel; any other weight as it is."""
    if not isinstance(layer, nn.modules.conv._ConvNd) or layer.groups > 1 or layer.transposed:
        return weight
    return weight.flatten(1) if set(layer.kernel_size) == {1} else weight


def only(
    found: dict[str, tuple[Cell, ...]], role: str, owner: str, module: nn.Module
) -> tuple[Cell, ...]:
    """The cells of the single member for a role; QuestionError if there are two."""
    if len(found) == 1:
        return next(iter(found.values()))
    kind = type(module)
    raise messages.refusal(
        f"{owner}: {' and '.join(found)} could each be the {role} projection.",
        "one layer or matrix for each of query, key, value and output",
        "rename one of them, or name an adapter:",
        messages.adapter(owner, kind if kind.__name__ == owner else None),
    )


def with_fused(groups: dict[str, tuple[Cell, ...]]) -> dict[str, tuple[Cell, ...]]:
    """The groups with matrices for several roles dealt out to those that have none of their own."""
    plain = {role: cells for role, cells in groups.items() if ":" not in role}
    for role, cells in groups.items():
        _, _, order = role.partition(":")
        for name, letter in LETTER.items():
            if letter in order and name not in plain:
                plain[name] = tuple(replace(cell, order=order) for cell in cells)
    return plain


def with_biases(
    groups: dict[str, tuple[Cell, ...]], module: nn.Module, prefix: str
) -> dict[str, tuple[Cell, ...]]:
    """The groups with the vectors that are named as biases of raw matrices; (H, D) where each head has
    its own.
    """
    vectors: dict[str, tuple[str, Tensor]] = {}
    for name, value in members(module):
        if not isinstance(value, Tensor) or value.ndim not in (1, 2):
            continue
        order = fused_order(name) if "bias" in name.lower() and value.ndim == 1 else ""
        role = bias_role(name) or (f"fused:{order}" if order else None)
        if role:
            vectors[role] = (prefix + name, value)
    return {role: attach_bias(role, cells, trained(vectors)) for role, cells in groups.items()}


def trained(vectors: dict[str, tuple[str, Tensor]]) -> dict[str, tuple[str, Tensor]]:
    """The biases without those that are buffers beside parameters: these stay as they are, zero."""
    kept = {role: pair for role, pair in vectors.items() if isinstance(pair[1], nn.Parameter)}
    return kept or vectors


def attach_bias(
    role: str, cells: tuple[Cell, ...], vectors: dict[str, tuple[str, Tensor]]
) -> tuple[Cell, ...]:
    """The cells of a role, with its bias cut into as many pieces; it may be (H, D)."""
    order = cells[0].order
    name, vector = vectors.get(f"fused:{order}" if order else role, ("", None))
    alone = vector is None and len(cells) == 1 and role in vectors
    if alone:
        name, vector = vectors[role]
    if vector is None or cells[0].bias is not None or vector.numel() % len(cells):
        return cells
    if vector.ndim == 2 and (len(vector) != len(cells) or not vector.is_contiguous()):
        return cells
    whole = len(cells) == 1 and vector.ndim == 1
    pieces = (vector,) if whole else vector.detach().view(len(cells), -1).unbind()
    pairs = zip(cells, pieces, strict=True)
    return tuple(
        replace(cell, bias=piece, bias_path=name, bias_alone=alone and bool(order))
        for cell, piece in pairs
    )


def by_elimination(module: nn.Module, found: Structure) -> Structure:
    """The structure with the one square linear layer that is left over as output projection."""
    taken = {place(cell.weight) for cell in found.all_cells()}
    paths = {cell.path for cell in found.all_cells()}  # a computed weight lies anew each time
    left = [
        cell
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear)
        for cell in cells_of(layer, name)
        if cell.path not in paths and place(cell.weight) not in taken
    ]
    if len(left) != 1 or left[0].weight.shape[0] != left[0].weight.shape[1]:
        return found
    return replace(found, cells={**found.cells, "out": (left[0],)})


def place(tensor: Tensor) -> int:
    """Where the numbers lie: the same for a tensor and every view of it."""
    return tensor.untyped_storage().data_ptr()


def parameter_shapes(module: nn.Module) -> str:
    """The parameters with their shapes, as they are printed; of many the first."""
    seen = [f"{n} {shape_of(p)}" for n, p in module.named_parameters()]
    more = [f"{len(seen) - MOST} more"] if len(seen) > MOST else []
    return messages.listed([*seen[:MOST], *more])


def shape_of(tensor: Tensor) -> str:
    """(4, 6) for a matrix of that shape."""
    return str(tuple(tensor.shape))
