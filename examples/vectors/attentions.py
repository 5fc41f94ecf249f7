"""A right attention in NumPy and three wrong ones, as `check.py` calls them; put your own beside them."""

import numpy as np


def right(q, k, v, corner, share=np.repeat, scale=None, softcap=None, causal=False, window=(-1, -1),
          mask=1, padding=None, bias=0.0, alibi=None):  # fmt: skip
    """Output and LSE of q (B, H, T, D), k (B, G, S, D) and v (B, G, S, E).

    Raises ValueError where sizes do not fit each other.
    """
    (_, heads, queries, width), keys = q.shape, k.shape[2]
    if heads % k.shape[1] or k.shape[:3] != v.shape[:3] or np.size(alibi) not in (1, heads):
        raise ValueError("sizes do not fit each other")
    k, v = (share(x, heads // k.shape[1], 1) for x in (k, v))
    z = q @ k.swapaxes(-1, -2) * (width**-0.5 if scale is None else scale)
    z = z if softcap is None else softcap * np.tanh(z / softcap)
    start = keys - queries if corner == "bottom right" else 0
    ahead = np.arange(keys) - np.arange(queries)[:, None] - start
    seen = (np.asarray(mask) == 1) & ((ahead <= 0) | (not causal))
    for limit, beyond in zip(window, (-ahead, ahead), strict=True):
        seen = seen & ((beyond <= limit) | (limit < 0))
    seen = seen if padding is None else seen & (padding[:, None, None] == 1)
    z = z if alibi is None else z - alibi[:, None, None] * abs(ahead)
    z = np.where(seen, z + bias, -np.inf)
    top = np.nan_to_num(z.max(-1, keepdims=True), neginf=0.0)
    w = np.exp(z - top)
    total = w.sum(-1, keepdims=True)
    return w / np.where(total == 0, 1, total) @ v, (np.log(total) + top)[..., 0]


def groups_tiled(q, k, v, corner, **told):
    """Head h reads group h % G."""
    return right(q, k, v, corner, share=lambda x, n, _: np.tile(x, (1, n, 1, 1)), **told)


def causal_from_the_top_left(q, k, v, corner, **told):
    """Wherever the diagonal should lie."""
    return right(q, k, v, "top left", **told)


def scale_squared(q, k, v, corner, scale=None, **told):
    """A given scale multiplies queries and keys."""
    return right(q, k, v, corner, scale=scale and scale**2, **told)
