"""Calls of modules: their projections are read from their parameters, the rest is one formula."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from properties.tests.wide_calls import Pairs, attend, call, drawn, drawn_mask, past
from properties.zoo.wide import Sound

SIZES = {
    **dict.fromkeys(("d_model", "dim", "embed_dim", "d_in", "d_out", "n_state"), 12),
    **dict.fromkeys(("n_heads", "num_heads", "n_head"), 3),
    **dict.fromkeys(("context_length", "max_seq_len", "n_positions"), 32),
    **{"d_context": 8, "dropout": 0.0, "max_batch_size": 4, "causal": True, "layer_idx": 0},
}
NAMES = {
    "q": ("q_proj", "W_query", "wq", "to_q", "query"),
    "k": ("k_proj", "W_key", "wk", "to_k", "key"),
    "v": ("v_proj", "W_value", "wv", "to_v", "value"),
    "o": ("out_proj", "o_proj", "wo", "to_out", "proj", "c_proj", "output", "dense", "out"),
}
Linear = Callable[[Tensor], Tensor]


def build(one: Sound, **sizes: int) -> nn.Module:
    """The module in float64 and eval, with the sizes that its constructor asks for."""
    torch.manual_seed(3)
    known = {**SIZES, **sizes}
    parameters = inspect.signature(one.target).parameters
    return one.target(**{name: known[name] for name in parameters if name in known}).double().eval()


def takes(module: nn.Module, name: str) -> bool:
    """Whether forward takes an argument of this name."""
    return name in inspect.signature(module.forward).parameters


def matrices(module: nn.Module) -> dict[str, Linear]:
    """The projections q, k, v and o, found by name."""
    if hasattr(module, "inner"):
        return matrices(module.inner)
    if hasattr(module, "linears"):
        return dict(zip("qkvo", module.linears, strict=True))
    found: dict[str, Any] = {}
    for part, names in NAMES.items():
        for name in names:
            if isinstance(getattr(module, name, None), nn.Linear):
                found[part] = getattr(module, name)
                break
    for name in ("qkv", "c_attn", "qkv_proj", "Wqkv", "kv", "to_kv"):
        if hasattr(module, name):
            fused = getattr(module, name)
            found |= cut(fused.weight, fused.bias, "kv" if name in ("kv", "to_kv") else "qkv")
    if hasattr(module, "query_key_value"):  # group by group
        shape = (module.num_kv_heads, -1, module.head_dim)
        by_group = module.query_key_value.weight.unflatten(0, shape)
        parts = (slice(0, -2), slice(-2, -1), slice(-1, None))
        found |= cut(torch.cat([by_group[:, n].flatten(0, 2) for n in parts]), None, "qkv")
    if hasattr(module, "in_proj_weight") and module.in_proj_weight is not None:
        found |= cut(module.in_proj_weight, module.in_proj_bias, "qkv")
    return found


def cut(weight: Tensor, bias: Tensor | None, parts: str) -> dict[str, Linear]:
    """The projections in one matrix: q is as wide as its input, k and v share the rest."""
    of_q = weight.shape[1] if "q" in parts else 0
    each = (len(weight) - of_q) // 2
    rows = ([of_q] if of_q else []) + [each, each]
    biases = [None] * len(rows) if bias is None else bias.split(rows)
    return {
        part: partial(F.linear, weight=some, bias=its)
        for part, some, its in zip(parts, weight.split(rows), biases, strict=True)
    }


def truth(
    module: nn.Module,
    x: Tensor,
    of_keys: Tensor | None = None,
    of_values: Tensor | None = None,
    heads: int = 3,
    groups: int | None = None,
    turn: Callable[[Tensor], Tensor] | None = None,
    **arguments: Any,
) -> tuple[Tensor, Tensor]:
    """Output and weights of the module's projections around attention."""
    of_keys = x if of_keys is None else of_keys
    of_values = of_keys if of_values is None else of_values
    linear, groups = matrices(module), groups or heads
    q = linear["q"](x).unflatten(-1, (heads, -1)).transpose(1, 2)
    k = linear["k"](of_keys).unflatten(-1, (groups, -1)).transpose(1, 2)
    v = linear["v"](of_values).unflatten(-1, (groups, -1)).transpose(1, 2)
    q, k = (q, k) if turn is None else (turn(q), turn(k))
    context, weights, _ = attend(q, k, v, **arguments)
    return linear["o"](context.transpose(1, 2).flatten(2)), weights


PADDED = torch.arange(5) < torch.tensor([5, 3, 4])[:, None]
LEFT = torch.arange(5) >= torch.tensor([0, 2, 1])[:, None]
SQUARE = torch.arange(4) < torch.tensor([4, 2, 3, 1])[:, None]


def multihead(
    one: Sound,
    keys: int = 5,
    cross: bool = False,
    padding: Tensor | None = None,
    mask: Tensor | None = None,
    weights: bool = True,
    average: bool = True,
    gradient: bool = False,
    train: bool = False,
) -> Pairs | None:
    """Three items and five queries; boolean masks are true where a key attends."""
    if gradient and one.says["empty"] == "nan":
        return None
    module = build(one).train(train)
    x = drawn(3, 5, 12).requires_grad_()
    k, v = (drawn(3, keys, 12, seed=1), drawn(3, keys, 12, seed=2)) if cross else (x, x)
    given = [m if m is None or m.dtype != torch.bool else ~m for m in (padding, mask)]
    kept = [None if m is None else m.clone() for m in given]
    first = getattr(module, "batch_first", True)
    parts = [part if first else part.transpose(0, 1) for part in (x, k, v)]
    output, shown = module(
        *parts,
        key_padding_mask=given[0],
        need_weights=weights,
        attn_mask=given[1],
        average_attn_weights=average,
    )
    output = output if first else output.transpose(0, 1)
    seen, bias = torch.ones((), dtype=torch.bool), torch.zeros((), dtype=torch.float64)
    for wide in (
        None if padding is None else padding[:, None, None],
        None if mask is None else mask.unflatten(0, (3, 3)) if mask.dim() == 3 else mask,
    ):
        if wide is not None:
            seen, bias = (seen & wide, bias) if wide.dtype == torch.bool else (seen, bias + wide)
    want, matrix = truth(module, x, k, v, seen=seen, bias=bias, empty=one.says["empty"])
    if gradient:
        slopes = [torch.autograd.grad(out.square().sum(), x)[0] for out in (output, want)]
        return [(slopes[0], slopes[1])]
    pairs = [(output, want)]
    if weights:
        pairs.append((shown, matrix.mean(1) if average else matrix))
    return pairs + [(m, k) for m, k in zip(given, kept, strict=True) if m is not None]


ROW = drawn_mask(5, 5)
ROW[2] = False
FLOAT = 3 * drawn(5, 5, seed=5)
INFINITE = torch.zeros(3, 5, dtype=torch.float64).masked_fill(~PADDED, -torch.inf)

for how, arguments in {
    "plain": {},
    "cross": {"cross": True, "keys": 7},
    "padding": {"padding": PADDED},
    "float padding": {"padding": INFINITE},
    "small numbers of padding": {"padding": drawn(3, 5, seed=6)},
    "mask": {"mask": drawn_mask(5, 5)},
    "float mask, train": {"mask": FLOAT, "train": True},
    "float mask, eval": {"mask": FLOAT},
    "mask of items and heads": {"mask": drawn_mask(9, 5, 5)},
    "mask and padding": {"mask": drawn_mask(5, 5), "padding": PADDED},
    "mask, no weights": {"mask": drawn_mask(5, 5), "weights": False},
    "mask afterwards": {"mask": drawn_mask(5, 5)},
    "a row that sees nothing": {"mask": ROW},
    "gradient": {"mask": drawn_mask(5, 5), "gradient": True},
    "gradient, a row that sees nothing": {"mask": ROW, "gradient": True},
    "weights, padding": {"padding": PADDED},
    "weights of heads": {"average": False},
}.items():
    call("multihead-like", how)(partial(multihead, **arguments))


def masked(
    one: Sound,
    keys: Tensor | None = None,
    pairs: Tensor | None = None,
    loud: Tensor | None = None,
    before: Tensor | None = None,
) -> Pairs | None:
    """A module with a mask of keys, (B, T), or of pairs, (B, T, T), true where a key attends."""
    causal = one.kind == "masked" or one.says.get("causal") == "default"
    of_keys, of_pairs = "keys" in one.says.get("masks", ""), "pairs" in one.says.get("masks", "")
    if causal and one.says.get("causal") == "given":
        if keys is not None:
            return None
        causal = False
    if (keys is not None and not of_keys) or (pairs is not None and not of_pairs):
        return None
    module, mask = build(one), keys if pairs is None else pairs
    x = drawn(*((3, 5) if mask is None else mask.shape[:2]), 12)
    if loud is not None:
        x = torch.where(loud[..., None], x, 1e6 * x)
    if before is not None:
        module(x.roll(1, 0), **spoken(one, module, before, before.dim() == 2))
    got = module(x, **({} if mask is None else spoken(one, module, mask, pairs is None)))
    seen = past(x.shape[1], x.shape[1]) if causal else torch.ones((), dtype=torch.bool)
    if mask is not None:
        seen = seen & (mask[:, None, None] if pairs is None else mask[:, None])
    want, _ = truth(module, x, seen=seen, empty=one.says.get("empty", "nan"))
    return [(got, want)] if loud is None else [(got[loud], want[loud])]


def spoken(one: Sound, module: nn.Module, mask: Tensor, of_keys: bool) -> dict[str, Tensor]:
    """The mask under the name and with the meaning that the module has for it."""
    names = ("padding_mask", "key_padding_mask", "attention_mask", "mask")
    names = names if of_keys else ("attn_mask", "attention_mask", "mask")
    (name, *_) = (name for name in names if takes(module, name))
    meaning = one.says["mask"]
    if of_keys:
        meaning = one.says.get("padding", meaning)
    return {name: mask.clone() if meaning == "attends" else ~mask}


for how, arguments in {
    "plain": {},
    "padding": {"keys": PADDED},
    "padding, as many items as tokens": {"keys": SQUARE},
    "padding on the left": {"keys": LEFT},
    "mask of pairs": {"pairs": drawn_mask(2, 5, 5)},
    "mask of pairs, as many items as heads": {"pairs": drawn_mask(3, 5, 5)},
    "loud hidden key": {"keys": PADDED, "loud": PADDED},
    "two calls": {"keys": PADDED, "before": PADDED.roll(1, 0)},
}.items():
    call("encoder", how)(partial(masked, **arguments))
    call("masked", how)(partial(masked, **arguments))


def cross(
    one: Sound,
    queries: int = 3,
    keys: int | None = 5,
    twice: bool = False,
    mask: str = "",
    causal: bool = False,
) -> Pairs | None:
    """A module with a context of S tokens; none where keys is None. causal: by a flag of the call."""
    module = build(one)
    (_, name, *_) = inspect.signature(module.forward).parameters
    needed = inspect.signature(module.forward).parameters[name].default is inspect.Parameter.empty
    if (keys is None and needed) or (mask and not takes(module, mask)):
        return None
    flag = next((name for name in ("causal", "is_causal") if takes(module, name)), "")
    if causal and not flag:
        return None
    width = 8 if "d_context" in inspect.signature(one.target).parameters else 12
    x, given, seen = drawn(3, queries, 12), {}, torch.ones((), dtype=torch.bool)
    context = None if keys is None else drawn(3, keys, width, seed=1)
    if mask:
        tokens = torch.arange(queries if mask == "mask" else keys)
        given[mask] = tokens < torch.tensor([2, 3, 1])[:, None]
        seen = seen if mask == "mask" else given[mask][:, None, None]
    always, corner = "causal" in inspect.signature(one.target).parameters, one.says.get("corner")
    if (causal or always) and not (corner == "x alone" and keys is not None):
        seen = seen & past(queries, keys or queries, corner or "")
    if causal:
        given[flag] = True
    if twice:
        module(x, drawn(3, keys, width, seed=4))
    got = module(x, context, **given)
    want, _ = truth(module, x, context, seen=seen, empty=one.says.get("empty", "nan"))
    real = given.get("mask", ...)
    return [(got[real], want[real])]


for how, arguments in {
    "cross": {},
    "plain": {"keys": None},
    "cross, as many keys as queries": {"keys": 3},
    "cross, twice as many keys": {"keys": 6},
    "two calls": {"twice": True},
    "padding": {"mask": "encoder_attention_mask"},
    "padding of the context": {"mask": "context_mask"},
    "padding of a required context": {"mask": "attention_mask"},
    "padding, as many keys as queries": {"mask": "mask", "keys": 3},
    "plain, causal": {"keys": None, "causal": True},
    "cross, causal": {"causal": True},
    "cross, causal, more queries": {"queries": 4, "keys": 2, "causal": True},
    "cross, causal, padding of the context": {"keys": 3, "mask": "context_mask", "causal": True},
}.items():
    call("cross", how)(partial(cross, **arguments))


def grouped(one: Sound, gradient: bool = False) -> Pairs:
    """Six heads that share two heads of keys and values, or one where there is no choice."""
    choice = {"n_kv_heads": 2, "num_kv_groups": 2, "num_kv_heads": 2}
    groups = 2 if choice.keys() & inspect.signature(one.target).parameters.keys() else 1
    heads = dict.fromkeys(("n_heads", "num_heads", "num_attention_heads", "heads"), 6)
    widths = dict.fromkeys(("d_model", "dim", "d_in", "d_out", "hidden_size"), 24)
    module = build(one, **heads, **widths, **choice)
    x = drawn(2, 5, 24).requires_grad_()
    got = module(x)
    want, _ = truth(module, x, heads=6, groups=groups, seen=past(5, 5))
    if not gradient:
        return [(got, want)]
    slopes = [torch.autograd.grad(out.square().sum(), x)[0] for out in (got, want)]
    return [(slopes[0], slopes[1])]


call("grouped", "plain")(grouped)
call("grouped", "gradient")(partial(grouped, gradient=True))
