"""Modules that weigh queries, keys and values and have no parameters are asked as functions are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from properties import check
from properties.recognition.targets import find_one
from properties.runs.result import Report, Status
from properties.runs.runner import run as run_all


def weigh(scores: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The context, and the weights."""
    if mask is not None:
        scores = scores.masked_fill(mask == 0, -1e9)
    weights = scores.softmax(-1)
    return weights @ value, weights


class Bare(nn.Module):
    """Without a constructor."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Any:
        return weigh(q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5, v, mask)


class OfWidth(nn.Module):
    """Told how wide a head is."""

    def __init__(self, d_k: int) -> None:
        super().__init__()
        self.d_k = d_k

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Any:
        return weigh(q @ k.transpose(-2, -1) / self.d_k**0.5, v, mask)


class OfTemperature(nn.Module):
    """Told what scores are divided by."""

    def __init__(self, temperature: float, attn_dropout: float = 0.1) -> None:
        super().__init__()
        self.temperature = temperature
        self.dropout = nn.Dropout(attn_dropout)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Any:
        scores = q / self.temperature @ k.transpose(-2, -1)
        if mask is not None:
            scores = scores.masked_fill(mask == 0, -1e9)
        weights = self.dropout(scores.softmax(-1))
        return weights @ v, weights


class OfScale(nn.Module):
    """Told what scores are multiplied by."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Any:
        return weigh(q @ k.transpose(-2, -1) * self.scale, v, mask)


class OfDivisor(nn.Module):
    """Told what scores are divided by, under a name that does not say so."""

    def __init__(self, scale_factor: float) -> None:
        super().__init__()
        self.scale_factor = scale_factor

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Any:
        return weigh(q @ k.transpose(-2, -1) / self.scale_factor, v, mask)


class Told(nn.Module):
    """Its constructor says what hides, drops and scales."""

    def __init__(
        self, causal: bool = False, dropout: float = 0.0, softmax_scale: float | None = None
    ) -> None:
        super().__init__()
        self.causal, self.dropout, self.softmax_scale = causal, dropout, softmax_scale

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        p = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(
            query, key, value, dropout_p=p, is_causal=self.causal, scale=self.softmax_scale
        )


class OfLength(nn.Module):
    """Keeps a mask of a fixed size."""

    def __init__(self, max_len: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.past: Tensor
        self.register_buffer("past", torch.ones(max_len, max_len, dtype=torch.bool).tril())
        self.dropout = nn.Dropout(dropout)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        tokens = q.shape[-2]
        scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
        past = self.past[:tokens, :tokens]
        return self.dropout(scores.masked_fill(~past, -torch.inf).softmax(-1)) @ v


class OfSettings(nn.Module):
    """Told how wide a head is by an object."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.root = config.head_dim**0.5
        self.dropout = nn.Dropout(config.attention_dropout)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Any = None) -> Tensor:
        context: Tensor = weigh(query @ key.transpose(-2, -1) / self.root, value, mask)[0]
        return context


class OfSettingsWithoutRoot(OfSettings):
    """1 / head_dim."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Any = None) -> Tensor:
        return super().forward(query, key / self.root, value, mask)


class HidesUnlessTold(nn.Module):
    """Hides the future where no mask comes, and what the mask hides where one does; (B, T, H, D)."""

    def __init__(self, scale: float | None = None, attention_dropout: float = 0.1) -> None:
        super().__init__()
        self.scale, self.dropout = scale, nn.Dropout(attention_dropout)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None) -> Any:
        scale = q.shape[-1] ** -0.5 if self.scale is None else self.scale
        scores = torch.einsum("blhe,bshe->bhls", q, k)
        if attn_mask is None:
            attn_mask = torch.ones(q.shape[1], q.shape[1], dtype=torch.bool).triu(1)
        weights = (scale * scores.masked_fill(attn_mask, -torch.inf)).softmax(-1)
        return torch.einsum("bhls,bshd->blhd", self.dropout(weights), v), None


class Keeps(nn.Module):
    """Keeps the weights of a call, with what gradients are made of, as the modules of a book do."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scores = torch.bmm(queries, keys.transpose(1, 2)) / queries.shape[-1] ** 0.5
        self.attention_weights = scores.softmax(-1)
        return torch.bmm(self.dropout(self.attention_weights), values)


def divided(q: Tensor, k: Tensor, v: Tensor, temperature: float) -> Tensor:
    """A function that requires what scores are divided by."""
    context: Tensor = weigh(q @ k.transpose(-2, -1) / temperature, v, None)[0]
    return context


RIGHT = (
    Bare,
    OfWidth,
    OfTemperature,
    OfScale,
    OfDivisor,
    OfLength,
    OfSettings,
    Told,
    HidesUnlessTold,
    Keeps,
    divided,
)


def run(target: Any) -> Report:
    return check(target, profile="quick", seed=0)


@pytest.mark.parametrize("target", RIGHT, ids=lambda one: one.__name__)
def test_a_right_one_is_right(target: Any) -> None:
    report = run(target)
    assert report.conforms, report.failed
    assert sum(result.status is Status.PASS for result in report.results) > 65


@pytest.mark.parametrize(
    ("target", "takes"),
    [
        (Bare, {"mask": "mask", "weights": ""}),
        (OfTemperature, {"scale": "temperature", "mask": "mask"}),
        (OfDivisor, {"scale": "scale_factor"}),
        (Told, {"causal": "causal", "scale": "softmax_scale"}),
    ],
)
def test_what_its_constructor_is_told_can_be_told_by_a_call(
    target: Any, takes: dict[str, str]
) -> None:
    found = find_one(target).takes
    assert {role: found.get(role) for role in takes} == takes


@pytest.mark.parametrize("target", [OfTemperature, Told])
def test_its_dropout_is_asked(target: Any) -> None:
    dropping = [r for r in run(target).results if r.clause.startswith("dropout/")]
    assert sum(result.status is Status.PASS for result in dropping) > 15


class WithoutRoot(nn.Module):
    """1 / d_k."""

    def __init__(self, d_k: int) -> None:
        super().__init__()
        self.d_k = d_k

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Any:
        return weigh(q @ k.transpose(-2, -1) / self.d_k, v, mask)


class TemperatureTwice(OfTemperature):
    """Queries and keys are divided by the whole of it."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Any:
        return super().forward(q, k / self.temperature, v, mask)


class OverQueries(nn.Module):
    """Softmax along the wrong axis."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-2) @ v


class HiddenLate(nn.Module):
    """Hidden weights are taken out behind the softmax, and the rest is left as it is."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Any:
        weights = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1)
        if mask is not None:
            weights = weights * (mask != 0)
        return weights @ v, weights


class LetsTheNextIn(HidesUnlessTold):
    """Without a mask the diagonal is one token late."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None) -> Any:
        if attn_mask is None:
            attn_mask = torch.ones(q.shape[1], q.shape[1], dtype=torch.bool).triu(2)
        return super().forward(q, k, v, attn_mask)


class ReadsTheNextKey(HidesUnlessTold):
    """Each column of a mask is read for the key before."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None) -> Any:
        return super().forward(q, k, v, None if attn_mask is None else attn_mask.roll(1, -1))


class DropsInEval(nn.Module):
    """Dropout that no mode switches off."""

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout = dropout

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1)
        return F.dropout(scores, self.dropout or 0.1) @ v


class KeepsAndUses(Keeps):
    """Goes on with the weights of the call before, where these are as many."""

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        before = getattr(self, "attention_weights", None)
        context = super().forward(queries, keys, values)
        if before is None or before.shape != self.attention_weights.shape:
            return context
        return torch.bmm((before.detach() + self.attention_weights) / 2, values)


WRONG = {
    WithoutRoot: "scale 1/head_dim",
    OfSettingsWithoutRoot: "scale 1/head_dim",
    TemperatureTwice: "scale",
    OverQueries: "softmax over the queries",
    HiddenLate: "",
    LetsTheNextIn: "",
    ReadsTheNextKey: "",
    DropsInEval: "",
    KeepsAndUses: "",
}


@pytest.mark.parametrize("target", WRONG, ids=lambda one: one.__name__)
def test_a_wrong_one_is_told(target: Any) -> None:
    report = run(target)
    assert report.exit_code == 1
    names = [name for result in report.results for name in result.behaves_like]
    assert any(name.startswith(WRONG[target]) for name in names) or not WRONG[target], names


@pytest.mark.parametrize("target", [WithoutRoot, TemperatureTwice, HiddenLate])
def test_its_script_fails_by_itself(target: Any) -> None:
    subject = find_one(f"{target.__module__}:{target.__name__}")
    report = run_all(subject, profile="quick", seed=0, scripts=True)
    failed = [r for r in report.results if r.status is Status.FAIL and r.level == "MUST"]
    scripts = [result.script for result in failed]
    assert scripts
    assert all("AsFunction(Attention" in script for script in scripts)


class WithNorm(nn.Module):
    """Queries, keys and values come in, and the queries are added behind a projection and normalised."""

    def __init__(self, n_head: int, d_model: int, d_k: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.n_head, self.d_k = n_head, d_k
        self.w_qs = nn.Linear(d_model, n_head * d_k, bias=False)
        self.w_ks = nn.Linear(d_model, n_head * d_k, bias=False)
        self.w_vs = nn.Linear(d_model, n_head * d_k, bias=False)
        self.fc = nn.Linear(n_head * d_k, d_model, bias=False)
        self.attention = OfTemperature(d_k**0.5, dropout)
        self.layer_norm = nn.LayerNorm(d_model)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Any:
        parts = zip((q, k, v), (self.w_qs, self.w_ks, self.w_vs), strict=True)
        heads = [f(x).unflatten(-1, (self.n_head, self.d_k)).transpose(1, 2) for x, f in parts]
        if mask is not None:
            mask = mask.unsqueeze(1)
        context, weights = self.attention(*heads, mask=mask)
        return self.layer_norm(self.fc(context.transpose(1, 2).flatten(2)) + q), weights


def test_a_norm_around_queries_keys_and_values_is_taken_out() -> None:
    report = run(WithNorm)
    assert report.conforms, report.failed
    assert {"layer_norm", "residual"} <= report.unasked.keys()
