"""What could not be asked is no accusation: exit code 2, with what was tried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from properties import Config, Subject, Weights, check
from properties.basics.errors import QuestionError
from properties.cli import main
from properties.recognition.targets import find
from properties.runs.runner import run
from properties.zoo.faults.plain import PlainMultiHead
from properties.zoo.rights.common import SplitHeads, attend, require


class OneWidth(SplitHeads):
    """One width for input and output."""

    def __init__(self, d_model: int, num_heads: int, context_length: int = 64) -> None:
        super().__init__(d_model, d_model, context_length, 0.0, num_heads)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return attend(queries, keys, values, self.dropout)


def ignores_d_out(d_in: int, d_out: int, num_heads: int) -> nn.Module:
    """As one writes it who has one width and was asked for two."""
    return OneWidth(d_in, num_heads)


def ignores_d_in(d_in: int, d_out: int, num_heads: int) -> nn.Module:
    return OneWidth(d_out, num_heads)


def refuses_others(d_in: int, d_out: int, num_heads: int) -> nn.Module:
    require(d_in == d_out, f"d_in {d_in} has to be d_out {d_out}")
    return OneWidth(d_in, num_heads)


def makes_two_widths(d_in: int, d_out: int, context_length: int, num_heads: int) -> nn.Module:
    return PlainMultiHead(d_in, d_out, context_length, 0.0, num_heads)


@pytest.mark.parametrize("factory", [ignores_d_out, ignores_d_in, refuses_others])
def test_a_factory_of_modules_of_one_width_is_square(factory: Callable[..., nn.Module]) -> None:
    """It is asked with d_in = d_out, and nothing is held against it."""
    [subject] = find(factory)
    assert not subject.has("rectangular")
    assert {"projections", "out-projection"} <= subject.capabilities
    assert run(subject, profile="quick", only=["shape", "heads", "oracle"]).failed == []


def test_a_factory_of_modules_of_two_widths_is_not_square() -> None:
    """That would leave half of the cases out."""
    [subject] = find(makes_two_widths)
    assert subject.has("rectangular")


class GpuAttention(PlainMultiHead):
    """Its kernel is not on this device."""

    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")


class PackageAttention(PlainMultiHead):
    """It needs a package that is not there."""

    def forward(self, x: Tensor) -> Tensor:
        import no_such_package_for_attention  # type: ignore[import-not-found]

        return no_such_package_for_attention.attend(x)


class BackendAttention(PlainMultiHead):
    """An operator without a CPU implementation."""

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError(
            "Could not run 'flash::fwd' with arguments from the 'CPU' backend."
        )


class UnknownAttention(nn.Module):
    """No matrix has a name, and forward wants what nobody knows."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(d_in, d_out), nn.Linear(d_in, d_out)

    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("expected positions beside x")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (GpuAttention, "no kernel image is available"),
        (PackageAttention, "No module named 'no_such_package_for_attention'"),
        (BackendAttention, "with arguments from the 'CPU' backend"),
        (UnknownAttention, "expected positions beside x"),
    ],
)
def test_a_class_that_cannot_run_here_is_not_accused(target: type[nn.Module], said: str) -> None:
    """Nothing is known to be wrong with it."""
    with pytest.raises(QuestionError) as refused:
        find(target)
    assert said in str(refused.value)
    assert "gives no output for random float32 input" in str(refused.value)


class JoinsBiases(nn.Module):
    """Hands its biases on in one piece, and may be built without them; queries (B, T, d_model)."""

    squared = False

    def __init__(self, d_model: int, num_heads: int, bias: bool = True) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj, self.k_proj, self.v_proj = (
            nn.Linear(d_model, d_model, bias=bias) for _ in range(3)
        )
        self.out_proj = nn.Linear(d_model, d_model)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, past: Tensor | None = None
    ) -> Tensor:
        biases = torch.cat([self.q_proj.bias, self.k_proj.bias, self.v_proj.bias]).chunk(3)
        parts = zip(
            (query, key, value), (self.q_proj, self.k_proj, self.v_proj), biases, strict=True
        )
        heads = [F.linear(x, p.weight, b).unflatten(-1, (self.num_heads, -1)) for x, p, b in parts]
        q, k, v = (part.transpose(1, 2) for part in heads)
        scale = q.shape[-1] ** (-1.0 if self.squared else -0.5)
        context = F.scaled_dot_product_attention(q, k, v, scale=scale)
        joined: Tensor = self.out_proj(context.transpose(1, 2).flatten(2))
        return joined


class JoinsBiasesScaledTwice(JoinsBiases):
    """1 / head_dim."""

    squared = True


def test_a_class_that_gives_nothing_without_biases_is_asked_with_them() -> None:
    """It is told that the rest was not asked, and what is wrong with biases is found."""
    right = check(JoinsBiases, profile="quick")
    assert right.exit_code == 0, right.failed
    assert right.unasked["bias"] == "projections without biases: forward gives no output"
    wrong = check(JoinsBiasesScaledTwice, profile="quick", only=["oracle", "weights"])
    assert any("scale" in (finding.name or "") for finding in wrong.findings), wrong.findings


class Raising(PlainMultiHead):
    """Understood, and broken."""

    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("not today")


def test_a_class_that_is_understood_and_always_raises_is_accused() -> None:
    """Its constructor and its matrices are known, so it is called as it should be."""
    [subject] = find(Raising)
    assert run(subject, profile="quick", only=["shape/output-shape"]).failed


class CalledDropout(SplitHeads):
    """Its argument for dropout is what drops."""

    def __init__(
        self, d_in: int, d_out: int, context_length: int, dropout: Any, num_heads: int
    ) -> None:
        super().__init__(d_in, d_out, context_length, 0.0, num_heads)
        self.drop = dropout

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return attend(queries, keys, values, self.drop)


def test_a_dropout_that_is_called_is_given_a_module() -> None:
    """A probability is what most classes ask for, not all."""
    [subject] = find(CalledDropout)
    assert "dropout is given a torch.nn.Dropout" in subject.notes
    only = ["shape/output-shape", "argument/dropout-has-effect"]
    assert run(subject, profile="quick", only=only).failed == []


class BrokenAdapter(Subject):
    family = "multihead"
    capabilities = frozenset({"projections", "batched", "module"})

    def build(self, config: Config, weights: Weights | None) -> Any:
        return PlainMultiHead(config.no_such_field)  # type: ignore[attr-defined]


class ElsewhereAdapter(Subject):
    family = "multihead"
    capabilities = frozenset({"batched", "module"})

    def build(self, config: Config, weights: Weights | None) -> Any:
        return GpuAttention(config.sizes.d_in, config.width, 64, 0.0, config.sizes.heads)


@pytest.mark.parametrize(
    ("adapter", "said"), [(BrokenAdapter, "no_such_field"), (ElsewhereAdapter, "no kernel image")]
)
def test_an_adapter_that_builds_nothing_here_is_not_accused(
    adapter: type[Subject], said: str
) -> None:
    """What it wraps may be right."""
    with pytest.raises(QuestionError, match=said):
        find(adapter)


def test_the_command_line_says_so_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Never "not right", never 1."""
    path = tmp_path / "arrays.py"
    path.write_text(
        "import numpy\n"
        "def attention(q, k, v):\n"
        "    scores = numpy.einsum('bhqd,bhkd->bhqk', q, k)\n"
        "    return str(numpy.exp(scores) @ numpy.asarray(v))\n"
    )
    assert main(["check", f"{path}:attention", "--profile", "quick"]) == 2
    out, err = capsys.readouterr()
    assert "not right" not in out + err
    assert "returned str" in err


def test_weights_of_an_unasked_kind_are_not_needed_for_a_refusal() -> None:
    """A d_out that the heads do not divide is asked for without weights where none can be set."""

    class Unnamed(nn.Module):
        def __init__(self, d_in: int, d_out: int, num_heads: int) -> None:
            super().__init__()
            self.inner = nn.ModuleDict({"a": OneWidth(d_in, num_heads)})
            self.last = nn.Linear(d_in, d_out, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.tanh(x))

    [subject] = find(Unnamed, "multihead")
    subject.capabilities -= {"projections", "out-projection"}
    report = run(subject, profile="quick", only=["error/indivisible-heads"])
    assert [r for r in report.results if r.status == "error"] == []
