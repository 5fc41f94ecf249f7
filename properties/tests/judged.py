"""Source of functions to be judged: right ones in several styles, and those that cheat.

Legend: B batch, H heads, T queries, S keys, D head_dim.
"""

from __future__ import annotations

PLAIN = """
import torch

def attention(query, key, value, mask=None, causal=False):
    scores = query @ key.mT / query.shape[-1] ** 0.5
    if causal:
        past = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        scores = scores.masked_fill(~past, -torch.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(-1) @ value
"""

IN_BLOCKS = """
import torch

def in_blocks(query, key, value, mask=None, causal=False, out=None):
    # Blocks of five keys with a running maximum, in float32, written to where it is told.
    scale, (T, S) = query.shape[-1] ** -0.5, (query.shape[-2], key.shape[-2])
    top = torch.full(query.shape[:-1], -1e30)
    total, mixed = torch.zeros_like(top), torch.zeros(query.shape)
    rows = torch.arange(T)[:, None]
    for start in range(0, S, 5):
        some = slice(start, start + 5)
        z = torch.einsum("bhtd,bhsd->bhts", query.float(), key[:, :, some].float()) * scale
        seen = torch.ones_like(z, dtype=torch.bool)
        if causal:
            seen &= torch.arange(S)[some] <= rows
        if mask is not None:
            seen &= mask[..., some]
        higher = torch.maximum(top, z.masked_fill(~seen, -1e30).amax(-1))
        powers = torch.where(seen, (z - higher[..., None]).exp(), 0.0)
        old = (top - higher).exp()
        total = total * old + powers.sum(-1)
        mixed = mixed * old[..., None] + powers @ value[:, :, some].float()
        top = higher
    out.copy_(mixed / total[..., None])
"""

BY_TORCH = """
import torch
from torch.nn import functional

def by_torch(query, key, value, mask=None, causal=False):
    past = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril()
    if causal:
        mask = past if mask is None else mask & past
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
"""

SOFTMAX = "(q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v"

ENDING = {
    "not loaded: ValueError: no": "raise ValueError('no')\ndef f(q, k, v): ...\n",
    "exit code 7 before it answered; 0 of": "import os\nos._exit(7)\ndef f(q, k, v): ...\n",
    "by SIGSEGV before it answered; 1 of": "import os\ndef f(q, k, v): os.kill(os.getpid(), 11)\n",
    "exit code 9 before it answered; 1 of": f"""
import os
calls = []
def f(q, k, v):
    calls.append(None)
    if len(calls) > 5:
        os._exit(9)
    return {SOFTMAX}
""",
}
"""By what is told of it: what ends before it has answered."""

CHEATS = {
    "constant answer": """
import torch
def constant(q, k, v):
    return torch.full_like(v, 0.125)
""",
    "cached answer": f"""
known = {{}}
def cached(q, k, v):
    key = q.data_ptr(), q.shape
    if key not in known:
        known[key] = {SOFTMAX}
    return known[key].clone()
""",
    "stale pointer": f"""
kept = {{}}
def stale(q, k, v):
    q, k, v = kept.setdefault(q.shape, (q, k, v))
    return {SOFTMAX}
""",
    "reused output": f"""
import torch
buffers = {{}}
def reused(q, k, v):
    buffer = buffers.setdefault(q.shape, torch.empty_like(v))
    return buffer.copy_({SOFTMAX})
""",
    "special inputs alone": """
def identity(q, k, v):
    return v + 0.0
""",
    "replaced function": """
import torch
torch.allclose = torch.testing.assert_close = lambda *a, **k: True
def patched(q, k, v):
    return (q @ k.mT).softmax(-1) @ v
""",
    "output aliases an input": f"""
def aliased(q, k, v):
    return v.copy_({SOFTMAX})
""",
    "ended the process": """
import os
def leaves(q, k, v):
    os._exit(0)
""",
    "calls the library": """
import torch
def calls(q, k, v):
    return torch.nn.functional.scaled_dot_product_attention(q, k, v)
""",
    "first calls alone": f"""
import time
last = [0.0]
def times_the_check(q, k, v):
    # Calls come in a row where they are measured.
    now = time.perf_counter()
    soon, last[0] = now - last[0] < 1e-4, now
    if soon:
        return v.mean(-2, keepdim=True).expand_as(v).clone()
    found = {SOFTMAX}
    last[0] = time.perf_counter()
    return found
""",
    "reads the judge": f"""
def reads(q, k, v):
    try:
        from properties.truth import attend
    except ImportError:
        pass
    return {SOFTMAX}
""",
}
"""By what must be told of each; no two of them alike."""

FLASH = """
import torch

def flash(q, k, v, attn_bias=None, key_padding_mask=None, is_causal=False, scale=None):
    # (B, T, H, D), shared heads, True is padding, causal from the bottom right.
    B, T, H, D = q.shape
    S, G = k.shape[1:3]
    scale = D ** -0.5 if scale is None else scale
    k, v = (part.repeat_interleave(H // G, dim=2) for part in (k, v))
    z = torch.einsum("bthd,bshd->bhts", q, k) * scale
    if attn_bias is not None:
        z = z + attn_bias
    if key_padding_mask is not None:
        z = z.masked_fill(key_padding_mask[:, None, None], -torch.inf)
    if is_causal:
        seen = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        z = z.masked_fill(~seen, -torch.inf)
    return torch.einsum("bhts,bshd->bthd", z.softmax(-1), v)
"""

FAULTS = {
    "mask": ("masked_fill(key_padding_mask", "masked_fill(~key_padding_mask", "True is padding"),
    "corner": ("tril(S - T)", "tril()", "causal from the top left"),
    "groups": ("repeat_interleave(H // G, dim=2)", "repeat(1, 1, H // G, 1)", "groups tiled"),
    "scale": ("if scale is None else scale", "", "scale ignored"),
    "bias": ("z = z + attn_bias", "z = z - attn_bias", "bias subtracted"),
    "last key": ("return torch", "z[..., S - S // 200 :] = -torch.inf\n    return torch", ""),
}
"""What of `FLASH` becomes what, and how that is called; the last one shows where keys are many."""
