"""flax.nnx: the graph apart from its parameters, merged again in each call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from properties.recognition.foreign.classes.kind import Opened
from properties.recognition.foreign.classes.on_jax import OnJax


class Nnx(OnJax):
    """A module holds its generators, which are set anew for a call in training."""

    name, packages, generators = "flax.nnx", ("flax.nnx.",), ("rngs",)

    def generator(self, seed: Any) -> Any:
        """Streams of any name."""
        import jax
        from flax import nnx

        return nnx.Rngs(jax.random.key(seed))

    def opened(self, make: Callable[[], Any], width: int, dtype: str) -> Opened:
        """Parameters by the names of attributes."""
        import jax
        from flax import nnx

        graph, state, rest = nnx.split(make(), nnx.Param, ...)
        leaves, tree = jax.tree.flatten(state)
        names = [".".join(map(str, path)) for path, _ in nnx.to_flat_state(state)]

        def call(
            weights: Mapping[str, Any], given: Any, named: Any, training: bool, seed: Any
        ) -> Any:
            state = jax.tree.unflatten(tree, list(weights.values()))
            module = nnx.merge(graph, state, rest, copy=True)
            if training:
                module.train()
                key = jax.random.key(seed)
                nnx.reseed(module, default=key, params=key, dropout=key)
            else:
                module.eval()
            return module(*given, **named)

        return Opened(call, dict(zip(names, leaves, strict=True)))


KIND = Nnx()
