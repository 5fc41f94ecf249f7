"""The smallest fault told among 8192 keys: `python benchmarks/sensitivity.py > docs/sensitivity.md`.

Torch's own kernels on a CPU are asked with a fault injected, by the usual rule (random numbers, allclose at
1e-2) and by the laws `cross/edges-of-8192-keys` and `cross/each-of-8192-keys`. What is right must pass each
of them. Takes about a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import pad, scaled_dot_product_attention

from properties.basics.assertions import Violation
from properties.basics.dtypes import FORMATS
from properties.cases.far_keys import BASE, share
from properties.recognition.targets import find
from properties.truth.bounds.arithmetic import gamma

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
BACKENDS = {"math": SDPBackend.MATH, "flash": SDPBackend.FLASH_ATTENTION}
DTYPES = ("bfloat16", "float16")
TOLERANCE = 1e-2
HEAD = """# The smallest fault among 8192 keys

Written by `python benchmarks/sensitivity.py > docs/sensitivity.md`, torch {torch} on a CPU.

Attention of 8192 keys (8191 where it says so) by torch's own kernels, right and with a fault injected: is
it told, by the usual rule and by the laws? The usual rule: standard normal queries, keys and values of 64
columns, 64 queries, and `allclose` with rtol = atol = 1e-2 against the formula in float64. The laws:
`cross/edges-of-8192-keys`, asked from the profile ci on, and `cross/each-of-8192-keys`, of thorough.
"""
WHY = """
A random row gives each of 8192 keys a share of about one 8192nd, and the mean of so many values is about
0.011: allclose at 1e-2 says little of that. The laws' rows are led by sixteen keys at a time, all others
weigh nothing, so that one key is a sixteenth of the row and stands alone in a column of it
(`properties/cases/far_keys.py`). The edges are the first and last keys of all tiles of 64 and the ends of
the row; each is every key, twice.

"""


class Injected(NamedTuple):
    """A fault: how keys and values are changed, and among how many keys it is asked."""

    name: str
    change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    keys: int = 8192


def without(first: int, last: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Keys first to last - 1 are left out, counted from the end below zero."""
    place = torch.arange(key.shape[-2])
    kept = (place < first % len(place)) | (place >= (last % len(place) or len(place)))
    return key[..., kept, :], value[..., kept, :]


def again(which: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """A key is counted twice."""
    order = torch.cat([torch.arange(key.shape[-2]), torch.tensor([which])])
    return key[..., order, :], value[..., order, :]


def exchanged(which: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """A key and the next one have each other's values."""
    order = torch.arange(key.shape[-2])
    order[[which, which + 1]] = order[[which + 1, which]]
    return key, value[..., order, :]


def filled(key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Zeros fill up the last tile of 64 and are not hidden."""
    missing = -key.shape[-2] % 64
    return pad(key, (0, 0, 0, missing)), pad(value, (0, 0, 0, missing))


FAULTS = (
    Injected("none: it is right", lambda key, value: (key, value)),
    Injected("none: it is right", lambda key, value: (key, value), 8191),
    Injected("the last key is left out", partial(without, -1, 0)),
    Injected("key 5000 is left out", partial(without, 5000, 5001)),
    Injected("the last key counts twice", partial(again, -1)),
    Injected("key 5000 counts twice", partial(again, 5000)),
    Injected("keys 5000 and 5001 have each other's values", partial(exchanged, 5000)),
    Injected("a tile of 64 keys is left out", partial(without, 4032, 4096)),
    Injected("the 63 keys behind the last full tile are left out", partial(without, 8128, 0), 8191),
    Injected("one key of zeros fills up the last tile", filled, 8191),
)


def attention(backend: SDPBackend, fault: Injected) -> Attention:
    """Torch's kernel, with the fault where there are thousands of keys."""

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if key.shape[-2] > 4096:
            key, value = fault.change(key, value)
        with sdpa_kernel(backend):
            return scaled_dot_product_attention(query, key, value)

    return attend


@cache
def random(keys: int) -> tuple[Tensor, Tensor, Tensor]:
    """Standard normal queries, keys and values."""
    seeded = torch.Generator().manual_seed(0)
    sizes = (64, keys, keys)
    q, k, v = (torch.randn(1, 1, size, 64, generator=seeded) for size in sizes)
    return q, k, v


def usual(attend: Attention, dtype: str, keys: int) -> tuple[bool, float]:
    """Whether allclose on random numbers tells, and the largest error."""
    given = [part.to(getattr(torch, dtype)) for part in random(keys)]
    right = scaled_dot_product_attention(*(part.double() for part in given))
    found = attend(*given).double()
    close = torch.allclose(found, right, rtol=TOLERANCE, atol=TOLERANCE)
    return not close, float((found - right).abs().max())


def told(attend: Attention, dtype: str, keys: int, every: bool) -> str:
    """What a law says, in a word or two."""
    [subject] = find(attend, "self")
    try:
        used = share(subject, keys, dtype, every)
    except Violation:
        return "told"
    return f"passes, {used:.1%} of the bound"


def fewest_told(backend: SDPBackend, dtype: str) -> int:
    """How many of the last keys have to be left out until the usual rule tells."""
    return next(
        count
        for count in range(1, 8192)
        if usual(attention(backend, Injected("", partial(without, -count, 0))), dtype, 8192)[0]
    )


def rows(backend: str, dtype: str) -> Iterator[str]:
    """A line of the table for each fault."""
    for fault in FAULTS:
        attend = attention(BACKENDS[backend], fault)
        seen, error = usual(attend, dtype, fault.keys)
        before = f"{'told' if seen else 'passes'}, off by {error:.2g}"
        laws = (told(attend, dtype, fault.keys, every) for every in (False, True))
        name = fault.name + ", of 8191" * (fault.keys == 8191)
        yield f"| {backend} | {dtype} | {name} | {before} | {' | '.join(laws)} |"


def main() -> None:
    """The page."""
    print(HEAD.format(torch=torch.__version__))
    print("| kernel | format | fault | usual rule | edges | each |\n|---|---|---|---|---|---|")
    for backend in BACKENDS:
        for dtype in DTYPES:
            for line in rows(backend, dtype):
                print(line, flush=True)
    print(WHY, end="")
    print(
        "| kernel | format | fewest last keys left out that the usual rule tells | that the laws tell |"
    )
    print("|---|---|---|---|")
    for backend, kind in BACKENDS.items():
        for dtype in DTYPES:
            print(f"| {backend} | {dtype} | {fewest_told(kind, dtype)} | 1, anywhere |")
    print(
        "\nThe smallest error of a single key's weight that the laws tell, of that weight, from the bound:"
    )
    shares = (f"{dtype} {gamma(2 * BASE + 24, FORMATS[dtype]):.2g}" for dtype in FORMATS)
    print(f"{', '.join(shares)}.")


if __name__ == "__main__":
    main()
