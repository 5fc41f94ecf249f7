"""equinox: nn.MultiheadAttention, of one sequence, mapped over the items of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from properties.recognition.foreign import jax_arrays
from properties.recognition.foreign.modules import ForeignSubject, Made, Place
from properties.subjects.subject import Config
from properties.survey.lines import Line

LINES = (Line("equinox", "nn.MultiheadAttention, by jax.vmap", f"{__name__}:MultiHead"),)
ROLES = {"query": "query", "key": "key", "value": "value", "out": "output"}


class MultiHead(ForeignSubject):
    """Each of the four layers keeps (out, in), and has a bias if it is asked for."""

    name = "equinox.nn.MultiheadAttention"
    arrays = jax_arrays.ARRAYS
    capabilities = frozenset(
        {"projections", "out-projection", "out-bias", "qkv-bias", "rectangular", "batched"}
    )
    places: Mapping[str, Place] = {
        **{role: Place(f"{name}_proj.weight", turned=True) for role, name in ROLES.items()},
        **{f"{role}_bias": Place(f"{name}_proj.bias") for role, name in ROLES.items()},
    }
    told = ("mask", "context")

    def make(self, config: Config) -> Made:
        """Arrays apart from all else, put together again in the call."""
        import equinox as eqx
        import jax

        s, bias, each = config.sizes, config.bias, config.width // config.sizes.heads
        module = eqx.nn.MultiheadAttention(
            num_heads=s.heads,
            query_size=s.d_in,
            output_size=config.width,
            qk_size=each,
            vo_size=each,
            use_query_bias=bias,
            use_key_bias=bias,
            use_value_bias=bias,
            use_output_bias=True,
            dtype=config.dtype,
            key=jax.random.key(config.seed),
        )
        arrays, rest = eqx.partition(module, eqx.is_array)
        paths, tree = jax.tree.flatten_with_path(arrays)
        names = [".".join(step.name for step in path) for path, _ in paths]

        def call(x: Any, *parameters: Any, mask: Any = None, context: Any = None) -> Any:
            made = eqx.combine(jax.tree.unflatten(tree, parameters), rest)
            other = x if context is None else context
            axes = (0, 0, None if mask is None else 0)
            return jax.vmap(lambda q, kv, see: made(q, kv, kv, mask=see), axes)(x, other, mask)

        return Made(call, dict(zip(names, (leaf for _, leaf in paths), strict=True)))
