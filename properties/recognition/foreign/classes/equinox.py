"""equinox: a module is a tree of arrays and of all else; usually one of a single sequence, to be mapped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from properties.recognition.foreign.classes.kind import Opened, first_inputs
from properties.recognition.foreign.classes.on_jax import OnJax

TOKENS = 5


class Equinox(OnJax):
    """A call is handed a key for dropout."""

    name, packages, generators = "equinox", ("equinox.",), ("key",)

    def opened(self, make: Callable[[], Any], width: int, dtype: str) -> Opened:
        """Parameters by the names of fields."""
        import equinox as eqx
        import jax

        made = make()
        still = eqx.nn.inference_mode(made)
        alone = runs(still, TOKENS, width) and not runs(still, 1, TOKENS, width)
        arrays, rest = eqx.partition(made, eqx.is_inexact_array)
        paths, tree = jax.tree.flatten_with_path(arrays)
        names = [".".join(map(named_step, path)) for path, _ in paths]

        def call(
            weights: Mapping[str, Any], given: Any, named: Any, training: bool, seed: Any
        ) -> Any:
            module = eqx.combine(jax.tree.unflatten(tree, list(weights.values())), rest)
            moded = eqx.nn.inference_mode(module, not training)
            if alone and given[0].ndim > 2:
                return mapped(moded, given, named)
            return moded(*given, **named)

        return Opened(call, dict(zip(names, (leaf for _, leaf in paths), strict=True)))


def named_step(step: Any) -> str:
    """The name of a field, or the number of a place in a list."""
    return str(getattr(step, "name", None) or step.idx)


def runs(module: Any, *shape: int) -> bool:
    """Whether a module takes inputs of this shape."""
    import jax

    inputs = first_inputs(module.__call__, jax.ShapeDtypeStruct(shape, "float32"))
    try:
        jax.eval_shape(module, *inputs)
    except Exception:  # a refusal is an answer
        return False
    return True


def mapped(module: Any, given: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
    """What it gives for each item of a batch, with a key of its own; a mask without an axis for items is
    that of all.
    """
    import jax

    told = {n: jax.random.split(p, len(given[0])) if n == "key" else p for n, p in named.items()}
    moving = {n: p for n, p in told.items() if n == "key" or getattr(p, "ndim", 0) > 2}
    fixed = {n: p for n, p in told.items() if n not in moving}
    over = (0, 0 if moving else None)
    return jax.vmap(lambda parts, more: module(*parts, **more, **fixed), over)(list(given), moving)


KIND = Equinox()
