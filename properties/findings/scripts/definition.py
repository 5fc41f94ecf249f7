"""The definition of attention as a script has it: a few lines of float64 NumPy."""

from __future__ import annotations

DEFINITION = {
    "right": '''
def right(query, key, value, sees, scale=None, cap=None, bias=0.0):
    """The context by its definition, the weights, and the logarithms of their denominators.

    query: (B, H, T, D); key and value: (B, G, S, D), of which H / G heads of queries read each; sees:
    true where a query sees a key. A row that sees nothing is NaN.
    """
    query, key, value = (part.detach().double().numpy() for part in (query, key, value))
    readers = query.shape[1] // key.shape[1]
    key, value = key.repeat(readers, axis=1), value.repeat(readers, axis=1)
    scores = query @ key.swapaxes(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if cap is not None:
        scores = cap * np.tanh(scores / cap)
    with np.errstate(all="ignore"):
        scores = np.where(sees, scores + bias, -np.inf)
        largest = scores.max(axis=-1, keepdims=True)
        weights = np.exp(scores - largest)
        total = weights.sum(axis=-1, keepdims=True)
        weights = weights / total
        return weights @ value, weights, (np.log(total) + largest)[..., 0]
''',
    "derived": '''
def derived(query, key, value, upstream, sees, scale=None, cap=None, bias=0.0):
    """The derivatives of sum(upstream * context) by query, key, value and bias, by the chain rule.

    Where a query sees nothing upstream is zero.
    """
    weights = np.nan_to_num(right(query, key, value, sees, scale, cap, bias)[1])
    query, key, value = (part.detach().double().numpy() for part in (query, key, value))
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    readers = query.shape[1] // key.shape[1]
    key, value = key.repeat(readers, axis=1), value.repeat(readers, axis=1)
    to_weights = upstream @ value.swapaxes(-1, -2)
    to_bias = weights * (to_weights - (weights * to_weights).sum(axis=-1, keepdims=True))
    to_scores = scale * to_bias
    if cap is not None:
        to_scores *= 1.0 - np.tanh(scale * (query @ key.swapaxes(-1, -2)) / cap) ** 2
    to_key, to_value = to_scores.swapaxes(-1, -2) @ query, weights.swapaxes(-1, -2) @ upstream
    to_key, to_value = (
        part.reshape(part.shape[0], -1, readers, *part.shape[2:]).sum(axis=2)
        for part in (to_key, to_value)
    )
    return {"query": to_scores @ key, "key": to_key, "value": to_value, "bias": to_bias}
''',
}
"""Functions of a script, put in where they are used."""
