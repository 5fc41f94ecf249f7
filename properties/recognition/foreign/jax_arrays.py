"""JAX's arrays, and the functions of flax and others that stand on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

from properties.recognition.foreign.arrays import Arrays, Function, of_floating, to_numpy

SOON: tuple[dict[str, Any], ...] = (
    {
        "xla_backend_optimization_level": 0,
        "xla_cpu_use_fusion_emitters": False,
        "xla_cpu_parallel_codegen_split_count": 1,
    },
    {"xla_backend_optimization_level": 0},
    {},
)
"""Compiling takes nearly all of the time: options with which it takes least, if a compiler has them."""


@cache
def soon() -> dict[str, Any]:
    """The first of these that the compiler here knows."""
    import jax

    for options in SOON[:-1]:
        try:
            jax.jit(lambda x: x + 1, compiler_options=options)(0.0)
        except jax.errors.JaxRuntimeError:  # there is no such option in this version
            continue
        return options
    return SOON[-1]


class JaxArrays(Arrays):
    """Calls are compiled as a whole where that is possible: one by one, JAX compiles each of their
    steps, which takes four times as long.
    """

    name = "JAX"
    roots = frozenset({"jax", "jaxlib", "flax", "equinox", "haiku", "optax", "tokamax"})
    compiled = True

    def array(self, tensor: Tensor) -> Any:
        """A copy."""
        import jax.numpy as jnp

        if tensor.dtype == torch.bfloat16:
            return jnp.array(to_numpy(tensor.to(torch.float32)), dtype=jnp.bfloat16)
        return jnp.array(to_numpy(tensor))

    def within(self) -> AbstractContextManager[Any]:
        """float64 is there, whatever the user's process has chosen; on the CPU."""
        return wide_on_the_cpu()

    def prepared(self, function: Function) -> Function:
        """By jax.jit; one that looks at its numbers, which a compiled function cannot, as it is."""
        return Compiled(function)

    def pulled(self, function: Function, inputs: int) -> Function:
        """By jax.vjp."""
        inner = function.function if isinstance(function, Compiled) else function
        return self.prepared(Derivatives(inner, inputs))


@contextmanager
def wide_on_the_cpu() -> Iterator[None]:
    """64 bits are switched on, for as long as the body runs, and nowhere else."""
    import jax

    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        yield


class Compiled:
    """A function of arrays, compiled once for each shape."""

    def __init__(self, function: Function) -> None:
        import jax

        self.function, self.fast = function, jax.jit(function, compiler_options=soon())
        self.looks = False  # whether it looks at its numbers

    def __call__(self, *arrays: Any) -> Sequence[Any]:
        """What the function gives."""
        import jax

        if not self.looks:
            try:
                found: Sequence[Any] = self.fast(*arrays)
                return found
            except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
                self.looks = True
        return self.function(*arrays)


class Derivatives:
    """(*inputs, *upstream) -> the derivatives by the inputs of floating-point numbers."""

    def __init__(self, function: Function, inputs: int) -> None:
        self.function, self.inputs = function, inputs
        self.__name__ = "derivatives"

    def __call__(self, *arrays: Any) -> Sequence[Any]:
        """By jax.vjp; outputs that are no floating-point numbers count for nothing."""
        import jax
        import jax.numpy as jnp

        inputs, upstream = arrays[: self.inputs], iter(arrays[self.inputs :])

        def is_floating(part: Any) -> bool:
            return bool(jnp.issubdtype(part.dtype, jnp.floating))

        floating, alone = of_floating(self.function, inputs, is_floating)
        outputs, back = jax.vjp(alone, *floating)
        found: Sequence[Any] = back(tuple(next(upstream) for _ in outputs))
        return found


ARRAYS = JaxArrays()
