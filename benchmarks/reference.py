"""What the reference costs beside others: `python benchmarks/reference.py [TOKENS ...]`.

One forward and backward pass of causal attention of width 768 with 12 heads, on one thread, for each number
of tokens (128 to 8192 if none is named; the longest takes 14 GiB of memory). Prints, for each
implementation, the processor's seconds, the shortest of some passes that are made in turns, the ratio to
the class as the sources write it, and the memory that a pass adds to a process of its own.
`--picture FILE` draws both (matplotlib).
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import torch
from pace import seconds
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from attention import FusedMultiHeadAttention, MultiHeadAttention
from attention.functional import merge_heads, split_heads

WIDTH, HEADS = 768, 12
TOKENS = (128, 256, 512, 1024, 2048, 4096, 8192)
AT_ONCE = 4096  # tokens that are passed through in about the time in which a process starts
Costs = tuple[float, float]
"""The processor's seconds of a pass, and the MiB that it adds."""


class AsWritten(nn.Module):
    """The future hidden in place, each score divided: the sources' order. Source: 001; 003 §3.6.2."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.out = nn.Linear(WIDTH, WIDTH)
        self.dropout = nn.Dropout(0.0)
        self.register_buffer("mask", torch.ones(tokens, tokens).triu(diagonal=1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, 768) to the same."""
        q, k, v = (split_heads(f(x), HEADS) for f in (self.query, self.key, self.value))
        scores = q @ k.mT
        scores.masked_fill_(self.mask.bool()[: x.shape[1], : x.shape[1]], -torch.inf)
        weights = self.dropout(torch.softmax(scores / k.shape[-1] ** 0.5, dim=-1))
        return self.out(merge_heads(weights @ v))


class OneProduct(nn.Module):
    """Queries, keys and values by one matrix, then the fused kernel: the manner of nanoGPT."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, 768) to the same."""
        q, k, v = (split_heads(part, HEADS) for part in self.qkv(x).split(WIDTH, dim=2))
        return self.out(merge_heads(scaled_dot_product_attention(q, k, v, is_causal=True)))


class Bare(nn.Module):
    """Four products and one fused call, without a check: less cannot be done."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.matrices = nn.ParameterList(torch.randn(WIDTH, WIDTH) / WIDTH**0.5 for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, 768) to the same."""
        *qkv, out = self.matrices
        q, k, v = (split_heads(x @ matrix, HEADS) for matrix in qkv)
        return merge_heads(scaled_dot_product_attention(q, k, v, is_causal=True)) @ out


class Torch(nn.Module):
    """torch.nn.MultiheadAttention with a causal mask."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.inside = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.register_buffer("mask", torch.ones(tokens, tokens, dtype=torch.bool).triu(diagonal=1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, 768) to the same."""
        tokens = x.shape[1]
        told = {"attn_mask": self.mask[:tokens, :tokens], "is_causal": True, "need_weights": False}
        output: Tensor = self.inside(x, x, x, **told)[0]
        return output


KINDS = {
    "as the sources write it": AsWritten,
    "the reference": lambda tokens: MultiHeadAttention(WIDTH, WIDTH, tokens, 0.0, HEADS),
    "the fused reference": lambda tokens: FusedMultiHeadAttention(WIDTH, WIDTH, tokens, 0.0, HEADS),
    "torch.nn.MultiheadAttention": Torch,
    "nanoGPT's manner": OneProduct,
    "four products, one fused call": Bare,
}


def times(tokens: int) -> dict[str, float]:
    """The processor's seconds of a pass, of every kind."""
    torch.set_num_threads(1)
    x = torch.randn(1, tokens, WIDTH)
    modules = {kind: make(tokens) for kind, make in KINDS.items()}
    taken = dict.fromkeys(KINDS, float("inf"))
    for _ in range(1 + AT_ONCE // tokens):
        for kind, module in modules.items():
            taken[kind] = min(taken[kind], seconds(partial(step, module, x))[0])
    return taken


def step(module: nn.Module, x: Tensor) -> None:
    """One pass forward and backward."""
    module(x).sum().backward()


def alone(kind: str, tokens: int) -> float:
    """The MiB that a pass adds to a process of its own; asked while this one is small, since a process
    begins with the peak of the one that starts it.
    """
    words = [sys.executable, __file__, "--one", kind, str(tokens)]
    return float(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)


def added(kind: str, tokens: int) -> float:
    """The MiB that a pass adds to this process."""
    torch.set_num_threads(1)
    module, x = KINDS[kind](tokens), torch.randn(1, tokens, WIDTH)
    step(module, x[:, :8])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step(module, x)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def show(tokens: int, found: dict[str, Costs]) -> None:
    """The lines of one number of tokens."""
    unit = found["as the sources write it"][0]
    for kind, (taken, added) in found.items():
        print(f"{tokens:>5} {kind:30} {taken / unit:5.2f} {taken:8.3f} s {added:8.0f} MiB")


def draw(found: dict[int, dict[str, Costs]], path: Path) -> None:
    """Time and memory against the number of tokens."""
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for panel, column, title in zip(panels, (0, 1), ("CPU seconds", "MiB"), strict=True):
        for kind in KINDS:
            panel.loglog(
                list(found), [row[kind][column] for row in found.values()], "o-", label=kind
            )
        panel.set(xlabel="tokens", title=f"{title} of one forward and backward pass")
        panel.set_xticks(list(found), [str(tokens) for tokens in found])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].legend(frameon=False)
    figure.savefig(path)


def main(arguments: Iterable[str]) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("tokens", nargs="*", type=int, default=TOKENS, metavar="TOKENS")
    parser.add_argument("--picture", type=Path, metavar="FILE")
    parser.add_argument("--one", metavar="KIND", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args(list(arguments))
    if options.one:
        print(added(options.one, options.tokens[0]))
        return
    space = {tokens: {kind: alone(kind, tokens) for kind in KINDS} for tokens in options.tokens}
    found = {}
    for tokens in options.tokens:
        taken = times(tokens)
        found[tokens] = {kind: (taken[kind], space[tokens][kind]) for kind in KINDS}
        show(tokens, found[tokens])
    if options.picture:
        draw(found, options.picture)


if __name__ == "__main__":
    main(sys.argv[1:])
