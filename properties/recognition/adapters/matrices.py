"""Which matrices of a module carry our weights, and what is said where none can be set."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from properties.basics import interrupts
from properties.basics.errors import SubjectError
from properties.recognition.adapters import layouts, messages, projections
from properties.recognition.adapters.biases import offer_biases
from properties.recognition.adapters.blueprint import Blueprint
from properties.recognition.adapters.draft import Draft, found_in, random_weights, trial_config
from properties.recognition.adapters.loading import load
from properties.recognition.adapters.projections import Structure
from properties.recognition.adapters.spellings import LETTER
from properties.subjects.subject import HEADED_FAMILIES, JOINED_FAMILIES
from properties.truth.parameters import Sizes


def offer_projections(draft: Draft, blueprint: Blueprint, module: nn.Module) -> Blueprint:
    """Claim the matrices that are found and fit; return the blueprint to build by."""
    config = trial_config(blueprint, draft.family)
    structure = projections.find(module, blueprint.owner)
    if structure is None:
        reason = "nothing is named like W_query, W_key, W_value (q_proj, Wq, to_q, qkv ...)"
        if several := projections.of_several(module):
            reason = f"{several} is several layers, which together cannot be given one matrix"
        return lack_projections(draft, blueprint, module, reason)
    offer_out(draft, structure, config.sizes)
    projected = "out-projection" in draft.capabilities

    def build(sizes: Sizes) -> tuple[nn.Module, Structure]:
        new = blueprint.construct(replace(config, sizes=sizes), draft.family)
        return new, found_in(new, blueprint.owner, projected)

    try:
        batched = "batched" in draft.capabilities
        draft.scheme, remarks = layouts.discover(build, config.sizes, batched)
        load(build(config.sizes)[1], random_weights(config.sizes), config.sizes, draft.scheme)
    except SubjectError as error:
        return lack_projections(draft, blueprint, module, str(error))
    draft.notes += remarks
    if structure.frozen():
        draft.notes.append(
            "frozen parameters are asked for their gradients as if they were trained"
        )
    draft.capabilities.add("projections")
    show_matrices(draft, structure)
    if left := projections.left_over(module, structure):
        draft.notes.append(f"left as constructed: {messages.listed(left)}")
    return offer_biases(draft, blueprint, structure)


def lack_projections(
    draft: Draft, blueprint: Blueprint, module: nn.Module, reason: str
) -> Blueprint:
    """Say why no weights can be set, what was seen, and what to write instead."""
    draft.capabilities.discard("out-projection")
    draft.lacking["out-projection"] = "the projections cannot be set"
    if draft.family in HEADED_FAMILIES and wide_heads(blueprint, draft.family, module):
        draft.lacking["projections"] = (
            f"each head is as wide as the input ({reason}), and heads that split d_out among them "
            "are what is asked about"
        )
        return blueprint
    family = draft.family if draft.family in JOINED_FAMILIES else "multihead"
    written = messages.adapter(
        blueprint.owner, blueprint.target, blueprint.arguments.settings, family
    )
    draft.lacking["projections"] = (
        f"{reason}. Parameters seen: {projections.parameter_shapes(module)}. "
        f"What to do: name an adapter:{written}"
    )
    return blueprint


def wide_heads(blueprint: Blueprint, family: str, module: nn.Module) -> bool:
    """Whether every head has queries of the width of the input: with more heads, there are more."""
    config = trial_config(blueprint, family)
    heads = config.sizes.heads
    if (
        not blueprint.square
        or numbers_of_queries(module, blueprint) != heads * config.sizes.d_in**2
    ):
        return False
    more = replace(config.sizes, heads=2 * heads, head_dim=config.sizes.head_dim // 2)
    try:
        other = blueprint.construct(replace(config, sizes=more), family)
    except Exception as error:  # a number of heads that it does not take tells nothing
        interrupts.subjects_own(error)
        return True
    return numbers_of_queries(other, blueprint) == 2 * heads * more.d_in**2


def numbers_of_queries(module: nn.Module, blueprint: Blueprint) -> int:
    """How many numbers there are in the matrices that are for queries alone."""
    structure = projections.find(module, blueprint.owner)
    queries = structure.cells["query"] if structure is not None else ()
    return sum(cell.weight.numel() for cell in queries if not cell.order)


def offer_out(draft: Draft, structure: Structure, sizes: Sizes) -> None:
    """Claim the output projection if it is (H*D, H*D)."""
    if structure.out is None:
        reason = "no layer or matrix is named like out_proj (proj, W_o, fc_out, c_proj, to_out ...)"
        draft.settle("out-projection", False, reason)
        return
    square = tuple(structure.out.weight.shape) == (sizes.width, sizes.width)
    shape = projections.shape_of(structure.out.weight)
    reason = f"{structure.out.path} has the shape {shape}, expected {(sizes.width, sizes.width)}"
    draft.settle("out-projection", square, reason)


def show_matrices(draft: Draft, structure: Structure) -> None:
    """Record which matrix carries which of our weights."""
    for role, cells in structure.cells.items():
        if role == "out" and "out-projection" not in draft.capabilities:
            continue
        first = cells[0]
        turned = " (transposed)" if first.rows or draft.scheme.rows.get(role) else ""
        order = draft.scheme.order or first.order
        part = f" (rows {LETTER[role]} of {order}, {draft.scheme.layout})" if first.order else ""
        draft.matched[role] = each_head(first.path, len(cells)) + (part or turned)
        if first.bias is not None:
            draft.matched[f"{role}_bias"] = each_head(first.bias_path, len(cells)) + part


def each_head(path: str, count: int) -> str:
    """The path of the first of several heads' matrices with a star for the head's number."""
    if count == 1:
        return path
    return path.replace("[0]", "[*]", 1) if "[0]" in path else path.replace(".0", ".*", 1)
