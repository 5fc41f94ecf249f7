"""A buffer of complex numbers stays complex where a module is moved to a format."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from properties.findings.scripts.script import moved
from properties.recognition.targets import find_one
from properties.runs.runner import run
from properties.subjects.instance import complex_numbers, in_format

KNOWN = "position/rotary-is-a-known-one"
HUGE = "causality/future-at-the-end-of-the-range-stays-out"
SLOPES = "gradient/gradcheck"
MOVED = "state/dtype-move-takes-the-mask-along"


class ComplexAngles(nn.Module):
    """Neighbours are the parts of complex numbers, which are turned by a buffer of such numbers."""

    freqs_cis: Tensor

    def __init__(self, dim: int, n_heads: int, max_seq_len: int) -> None:
        super().__init__()
        self.n_heads, head_dim = n_heads, dim // n_heads
        self.wq = nn.Linear(dim, dim, bias=False)
        self.wk = nn.Linear(dim, dim, bias=False)
        self.wv = nn.Linear(dim, dim, bias=False)
        self.wo = nn.Linear(dim, dim, bias=False)
        speeds = 10000.0 ** (-torch.arange(0, head_dim, 2).float() / head_dim)
        angles = torch.outer(torch.arange(max_seq_len).float(), speeds)
        turns = torch.polar(torch.ones_like(angles), angles)
        self.register_buffer("freqs_cis", turns, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        parts = (
            layer(x).unflatten(-1, (self.n_heads, -1)) for layer in (self.wq, self.wk, self.wv)
        )
        q, k, v = (part.transpose(1, 2) for part in parts)
        q, k = self.turned(q), self.turned(k)
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        output: Tensor = self.wo(out.transpose(1, 2).flatten(2))
        return output

    def turned(self, x: Tensor) -> Tensor:
        pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())
        turned = pairs * self.turns(x.shape[-2])
        return torch.view_as_real(turned).flatten(-2).to(x.dtype)

    def turns(self, tokens: int) -> Tensor:
        return self.freqs_cis[:tokens]


class RealPartAlone(ComplexAngles):
    """What is left of its numbers after `to(dtype)`."""

    def turns(self, tokens: int) -> Tensor:
        return self.freqs_cis[:tokens].real


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_complex_numbers_are_as_they_were_in_every_format(dtype: str) -> None:
    module = ComplexAngles(8, 2, 5)
    before = module.freqs_cis.clone()
    moved = in_format(module, getattr(torch, dtype))
    assert complex_numbers(module) == ["freqs_cis"]
    assert torch.equal(moved.get_buffer("freqs_cis"), before)
    assert moved.get_parameter("wq.weight").dtype == getattr(torch, dtype)


def test_who_turns_by_complex_numbers_is_right_and_told_what_to_leaves_of_them() -> None:
    subject = find_one(ComplexAngles)
    report = run(subject, profile="quick", only=[KNOWN, MOVED, HUGE, SLOPES])
    assert {r.status for r in report.results} == {"pass"}
    assert "freqs_cis is complex: to(dtype) would keep its real part alone" in " ".join(
        subject.notes
    )


def test_who_turns_by_the_real_part_alone_is_not() -> None:
    report = run(find_one(RealPartAlone), profile="quick", only=[KNOWN])
    assert [r.status for r in report.results] == ["fail"]


def test_a_script_moves_such_a_module_likewise() -> None:
    assert moved(find_one(ComplexAngles), "module", "float16") == "module.half()"
    assert moved(find_one(nn.MultiheadAttention), "module", "float16") == "module.to(torch.float16)"


class Torn(ComplexAngles):
    """The queries have no gradient."""

    def turned(self, x: Tensor) -> Tensor:
        return super().turned(x.detach())


def test_a_gradient_that_is_cut_is_seen_where_queries_are_turned_in_float32() -> None:
    report = run(find_one(Torn), profile="quick", only=[SLOPES])
    assert [r.status for r in report.results if r.clause == SLOPES] == ["fail"]
