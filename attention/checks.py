"""What the modules refuse: each check raises ValueError with the offending numbers."""

from torch import Tensor


def require_positive(**sizes: int) -> None:
    """Every size is at least 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} is {size}, expected at least 1: give a positive integer")


def require_divisible(d_out: int, num_heads: int) -> None:
    """The heads share d_out evenly."""
    if d_out % num_heads:
        raise ValueError(
            f"d_out {d_out} does not split into {num_heads} equal heads, {d_out % num_heads} "
            f"left over: choose num_heads so that it divides d_out"
        )


def require_probability(dropout: float) -> None:
    """The dropout probability lies in [0, 1], which NaN does not."""
    if not 0.0 <= dropout <= 1.0:
        raise ValueError(
            f"dropout is {dropout}, expected a probability: give 0.0 (drop none) to 1.0 (all)"
        )


def require_tokens(x: Tensor, d_in: int | None = None) -> None:
    """The input is (T, d_in) or (B, T, d_in); without d_in, any width."""
    if x.ndim not in (2, 3):
        raise ValueError(
            f"input {tuple(x.shape)} has {x.ndim} axes, expected 2 or 3: give (tokens, d_in) "
            f"or (batch, tokens, d_in)"
        )
    if d_in is not None and x.shape[-1] != d_in:
        raise ValueError(
            f"input {tuple(x.shape)} has {x.shape[-1]} numbers per token, expected {d_in}: give "
            f"d_in on the last axis, or build the module with d_in={x.shape[-1]}"
        )


def require_batch(x: Tensor, d_in: int, context_length: int) -> None:
    """The input is (B, T, d_in) with T up to context_length."""
    if x.ndim != 3:
        raise ValueError(
            f"input {tuple(x.shape)} has {x.ndim} axes, expected 3: give (batch, tokens, d_in), "
            f"as x.unsqueeze(0) makes of a single (tokens, d_in)"
        )
    require_tokens(x, d_in)
    if x.shape[1] > context_length:
        raise ValueError(
            f"input {tuple(x.shape)} has {x.shape[1]} tokens, expected at most {context_length}: "
            f"shorten it, or build the module with a larger context_length"
        )
