"""Trial runs: what a built module does, where its signature and names do not say.

A trial leaves no trace: torch's random state is restored, warnings are kept back, and an exception
is an answer (no output, and why), never an error.

Legend: B batch, T tokens, W width of the output.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from properties.basics import interrupts
from properties.basics.doing import doing
from properties.basics.errors import DeclinedError
from properties.recognition.adapters import messages
from properties.recognition.adapters.spellings import fused_order, parameter_role
from properties.subjects import results
from properties.subjects.instance import in_eval, in_format, kind

# What forward raises where a device, a compiler or a package is not there.
ELSEWHERE = re.compile(
    r"CUDA|NVIDIA|triton|no kernel|'CPU' backend|not compiled|ImportError|ModuleNotFoundError|"
    r"\b(GPU|NPU|XPU|MPS|HIP|TPU)s?\b|not implemented for 'CPU'",
    re.IGNORECASE,
)
NO_TENSOR = ", not a tensor"
SIZES_OF_INPUT = (1.0, 0.1, 0.01)


@dataclass(frozen=True, eq=False)
class Trial:
    """The output of one call, or in `failure` why there is none; returned: what came in its place; named:
    whether that is the values of a mapping or the fields of an object.
    """

    output: Tensor | None = None
    failure: str = ""
    returned: tuple[Any, ...] = ()
    named: bool = False

    @property
    def tensor(self) -> Tensor | None:
        """The output, or the first tensor of what came in its place; None where there is none."""
        found = (self.output, *self.returned)
        return next((part for part in found if isinstance(part, Tensor)), None)

    def output_of(self, x: Tensor) -> Tensor | None:
        """The output, or the tensor with a row for each token of x among what came in its place."""
        found = results.output_in(self.returned, x) if self.output is None else self.output
        return found if isinstance(found, Tensor) else None

    @property
    def elsewhere(self) -> bool:
        """Whether it fails because this machine lacks something."""
        return bool(ELSEWHERE.search(self.failure))


def run(module: nn.Module, x: Tensor) -> Trial:
    """Call the module on x in eval mode.

    What a forward keeps as an attribute under the name of a matrix (self.keys = self.W_key(x)) is
    removed: it is none.
    """
    before = {part: set(vars(part)) for part in module.modules()}
    trial = call(in_eval(module), x)
    for part, names in before.items():
        for name in [n for n in vars(part) if n not in names and is_activation(part, n)]:
            delattr(part, name)
    return trial


def is_activation(part: nn.Module, name: str) -> bool:
    """Whether an attribute is a tensor that could be taken for a matrix."""
    meant = parameter_role(name) or fused_order(name)
    return bool(meant) and isinstance(vars(part)[name], Tensor)


def call(function: Callable[..., Any], *inputs: Tensor, gradients: bool = False) -> Trial:
    """Call a module as it is, or a function; gradients: as in training, recording for them."""
    recording = torch.set_grad_enabled(gradients)
    with torch.random.fork_rng(devices=[]), recording, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with doing("in a trial of forward"):
                output = function(*inputs)
        except BaseException as error:
            interrupts.subjects_own(error)
            own = error.__cause__ if isinstance(error, DeclinedError) else None
            return Trial(failure=f"raised {messages.described(own or error)}")
    if isinstance(output, Tensor) and output.ndim > 0:
        return Trial(output)
    returned = tuple(part for part in results.parts(output) if part is not output)
    named = bool(returned) and not isinstance(output, tuple | list)
    return Trial(failure=f"returned {kind(output)}{NO_TENSOR}", returned=returned, named=named)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch: products this small are many times slower on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def random_input(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in the default dtype, from a generator of their own."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def same(one: Tensor, other: Tensor) -> bool:
    """Equal up to rounding, NaN equal to NaN."""
    return one.shape == other.shape and bool(near(one, other).all())


def near(one: Tensor, other: Tensor) -> Tensor:
    """The same of each number of two tensors of one shape."""
    return torch.isclose(one, other, rtol=1e-4, atol=1e-5, equal_nan=True)


def dependence(module: nn.Module, x: Tensor, size: float = 1.0) -> NDArray[np.bool_] | None:
    """(T, T): whether output row i changes with token j, for an input of this size.

    x: ([B,] T, d_in). None where the module gives no rows, or none that is finite and changes with
    its own token: then nothing can be said.
    """
    x = size * x
    base = run(module, x).output
    tokens = x.shape[-2]
    if base is None or base.ndim != x.ndim or base.shape[-2] != tokens:
        return None
    seen = np.zeros((tokens, tokens), dtype=bool)
    for token in range(tokens):
        other = x.clone()
        other[..., token, :] += size * (1.0 + random_input(x.shape[-1], seed=1))
        changed = run(module, other).output
        if changed is None or changed.shape != base.shape:
            return None
        for row in range(tokens):
            pair = base[..., row, :], changed[..., row, :]
            seen[row, token] = all(bool(p.isfinite().all()) for p in pair) and not same(*pair)
    return seen if np.diagonal(seen).any() else None


def sees_future(module: nn.Module, *inputs: Tensor) -> str:
    """How much of the future rows see: all, some, none; "" if no input works.

    The first input that works decides, in all its sizes together: where large scores leave a weight
    too little to be seen, small ones do not. A row that is not finite, or does not even change with
    its own token, says nothing.
    """
    for x in inputs:
        found = [dependence(module, x, size) for size in SIZES_OF_INPUT]
        known = [seen for seen in found if seen is not None]
        if known:
            seen = np.any(known, axis=0)
            rows, columns = np.triu_indices(len(seen), 1)
            future = seen[rows, columns][np.diagonal(seen)[rows]]
            return "all" if future.all() else "some" if future.any() else "none"
    return ""


def batches(module: nn.Module, x: Tensor) -> tuple[bool, bool, str]:
    """Whether x (B, T, d_in) works as it is, whether its items (T, d_in) do, and a remark.

    A batch works where the result is that of each item alone; if neither runs, a batch is asked
    for, so that the failure is seen.
    """
    together, alone = run(module, x), [run(module, item) for item in x]
    items = [trial.output for trial in alone]
    rows = [item for item in items if item is not None and item.shape[:-1] == x.shape[1:-1]]
    unbatched = len(rows) == len(items)
    if together.output is None:
        return not unbatched, unbatched, ""
    if not unbatched:
        return True, False, ""
    if same(together.output, torch.stack(rows)):
        return True, True, ""
    return False, True, "a batch runs, but not as its sequences do alone: only (T, d_in) is asked"


def failures_in(
    build: Callable[[str], nn.Module], x: Tensor, names: tuple[str, ...]
) -> dict[str, str]:
    """Why a forward does not run, by format; "" where it does."""
    return {
        name: run(in_format(build(name), dtype), x.to(dtype)).failure
        for name, dtype in ((name, getattr(torch, name)) for name in names)
    }


def usable_dtypes(
    build: Callable[[str], nn.Module], x: Tensor, names: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The formats in which a forward runs (float32 if in none), and a remark for each lost."""
    return usable(failures_in(build, x, names))


def usable(failures: dict[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The same of what was found."""
    runs = tuple(name for name, failure in failures.items() if not failure)
    lost = {name: failure for name, failure in failures.items() if failure}
    return runs or ("float32",), tuple(f"not asked in {n}: {why}" for n, why in lost.items())
