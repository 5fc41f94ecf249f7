"""Old against new: what stays the same, what changed, and what cannot be compared."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

import properties
from properties.basics.errors import QuestionError
from properties.cases.long_rows import lengths
from properties.cli import main
from properties.compare import compare
from properties.compare.cost import peak_memory
from properties.compare.mapping import parse, renamed
from properties.compare.outcome import Comparison
from properties.reports import comparison as report
from properties.spec.profiles import PROFILES
from properties.zoo.faults import faults
from properties.zoo.faults.plain import PlainMultiHead
from properties.zoo.wide.rotary import PlainRotary

SHAPE = ["shape/output-shape"]
LONG = 4 * len(lengths("quick"))  # long rows, in four formats
FEW = replace(PROFILES["quick"], drawn=4, reduction=60)
CLASS = """
import torch
from torch import nn
from scaling import FACTOR

class Attention(nn.Module):
    def __init__(self, d_in, d_out, num_heads):
        super().__init__()
        self.heads = num_heads
        self.{query} = nn.Linear(d_in, d_out)
        self.{key} = nn.Linear(d_in, d_out)
        self.{value} = nn.Linear(d_in, d_out)

    def forward(self, x):
        parts = [p(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
                 for p in (self.{query}, self.{key}, self.{value})]
        query, key, value = parts
        scores = FACTOR * query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        hidden = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
        return (weights @ value).transpose(1, 2).flatten(2)
"""
USUAL = {"query": "W_query", "key": "W_key", "value": "W_value"}
ODD = {"query": "first", "key": "second", "value": "third"}
MORE = "self.heads, self.spare = num_heads, nn.Linear(1, 1)"


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few examples; time and memory are measured in the test about them alone."""
    monkeypatch.setattr(compare, "measure", lambda pair, subject: {})
    monkeypatch.setitem(PROFILES, "quick", FEW)


def diff(old: Any, new: Any, *only: str, **options: Any) -> Comparison:
    """Both sides at profile quick, asked a few clauses."""
    chosen = list(only) or SHAPE
    return properties.diff(old, new, profile="quick", only=chosen, **options)


def shown(found: Comparison) -> str:
    """What is printed on a terminal of 80 columns."""
    console = Console(width=80, file=io.StringIO())
    with console.capture() as capture:
        report.show(found, console)
    return capture.get()


def write(folder: Path, names: dict[str, str], factor: float = 1.0) -> str:
    """A file attention.py with a class Attention, and a module beside it that it imports."""
    folder.mkdir()
    (folder / "attn.py").write_text(CLASS.format(**names))
    (folder / "scaling.py").write_text(f"FACTOR = {factor}\n")
    return f"{folder / 'attn.py'}:Attention"


class Renamed(PlainMultiHead):
    """The same with another name for the queries' layer."""

    def __init__(self, d_in, d_out, context_length, dropout, num_heads, qkv_bias=False) -> None:
        super().__init__(d_in, d_out, context_length, dropout, num_heads, qkv_bias)
        self.q_proj = self.W_query
        del self.W_query

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.q_proj(x), self.W_key(x), self.W_value(x)


class LoadsTheOld(Renamed):
    """Renamed with care: an old state_dict is renamed while it is loaded."""

    def _load_from_state_dict(self, state, prefix, *rest) -> None:
        for name in [name for name in state if "W_query" in name]:
            state[name.replace("W_query", "q_proj")] = state.pop(name)
        super()._load_from_state_dict(state, prefix, *rest)


class TurnedOut(PlainMultiHead):
    """The output projection as a raw matrix (in, out) under the layer's old name."""

    class Raw(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            layer = nn.Linear(width, width)
            self.weight, self.bias = nn.Parameter(layer.weight.T.clone()), layer.bias

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.weight + self.bias

    def __init__(self, d_in, d_out, context_length, dropout, num_heads, qkv_bias=False) -> None:
        super().__init__(d_in, d_out, context_length, dropout, num_heads, qkv_bias)
        self.out_proj = TurnedOut.Raw(d_out)


class WithoutBias(PlainMultiHead):
    """The argument qkv_bias is gone."""

    def __init__(self, d_in, d_out, context_length, dropout, num_heads) -> None:
        super().__init__(d_in, d_out, context_length, dropout, num_heads, False)


def test_a_class_is_bit_identical_to_itself() -> None:
    """Nothing changed, exit code 0."""
    found = diff("attention:MultiHeadAttention", "attention:MultiHeadAttention")
    assert (found.verdict, found.exit_code, found.changes) == ("bit-identical", 0, [])
    assert found.outputs.examples == found.outputs.identical == 17 + LONG


def test_the_fused_kernel_is_within_rounding_of_the_reference(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Exit code 0 from the command line; the JSON says how much of the bound was used."""
    path = tmp_path / "diff.json"
    pair = ("attention:MultiHeadAttention", "attention:FusedMultiHeadAttention")
    only = ("weights/rows-sum-to-one", "dropout/survivors-are-exactly-scaled")
    assert main(["diff", *pair, "--profile", "quick", "--json", str(path), "--only", *only]) == 0
    assert "within rounding: nothing else has changed, up to 130 tokens" in capsys.readouterr().out
    document = json.loads(path.read_text())
    assert 0.0 < document["outputs"]["share"] < 1.0
    assert document["outputs"]["identical"] < document["outputs"]["examples"] == 22 + LONG
    assert (document["outputs"]["tokens"], document["gradients"]["tokens"]) == (130, 6)


@pytest.mark.parametrize(
    ("fault", "clause"),
    [
        ("scale-by-d-out", "heads/split-equals-per-head-matmul"),
        ("mask-shows-the-next-token", "causality/future-does-not-change-past"),
        ("merge-without-transpose", "heads/split-equals-per-head-matmul"),
        ("dropout-unscaled", "dropout/survivors-are-exactly-scaled"),
        ("dropout-in-eval", "dropout/inert-in-eval"),
        ("query-bias-lost", "projection/biases-take-part"),
        ("columns-are-cut", "error/wrong-d_in"),
        ("keys-detached", "gradient/gradcheck"),
        ("value-weights-are-a-buffer", "shape/every-parameter-is-registered"),
        ("half-precision-leaves-in-float32", "shape/dtype-preserved"),
    ],
)
def test_a_fault_is_different_and_the_clause_that_it_breaks_is_named(
    fault: str, clause: str
) -> None:
    """Ten areas; the report carries the clause and its smallest case."""
    found = diff(PlainMultiHead, faults()[fault].module, clause)
    assert (found.verdict, found.exit_code) == ("different", 1)
    assert clause in [change.clause for change in found.changes if change.kind == "clause"]
    assert f"BROKEN {clause}" in shown(found)


def test_other_outputs_come_with_the_smallest_case_first() -> None:
    """One head alone has the right scale, and one token alone has no scale to be seen."""
    found = diff(PlainMultiHead, faults()["scale-by-d-out"].module)
    assert found.changes[0].size == min(change.size for change in found.changes)
    outputs = next(change for change in found.changes if change.kind == "outputs")
    assert outputs.counterexample["sizes"]["heads"] == 2
    assert outputs.counterexample["sizes"]["tokens"] == 2


@pytest.mark.parametrize(
    ("fault", "profile", "tokens"),
    [
        ("mask-ends-at-40-keys", "quick", 65),
        ("tail-tile-forgotten", "quick", 33),
        ("mask-ends-at-512-keys", "ci", 1025),
    ],
)
def test_what_changes_beyond_the_tokens_that_are_drawn_is_different(
    fault: str, profile: str, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told with the number of tokens at which it begins to show, though no law was asked."""
    monkeypatch.setitem(PROFILES, profile, replace(PROFILES[profile], drawn=1))
    found = properties.diff(
        PlainMultiHead, faults()[fault].module, profile=profile, only=["shape/output-shape"]
    )
    assert (found.verdict, found.exit_code) == ("different", 1)
    assert f"CHANGED outputs: rows of {tokens} tokens in float64" in shown(found)


def test_long_rows_are_compared_of_what_computes_another_formula() -> None:
    """Two sides with the same fault are the same, up to as many tokens as are looked at."""
    wrong = faults()["mask-ends-at-40-keys"].module
    found = diff(wrong, wrong)
    assert (found.verdict, found.outputs.tokens) == ("bit-identical", 130)


def test_a_new_name_is_no_difference_in_results_but_a_change() -> None:
    """Weights move by their role; an old checkpoint does not load."""
    found = diff(PlainMultiHead, Renamed)
    assert (found.verdict, found.exit_code) == ("bit-identical", 1)
    assert [change.kind for change in found.changes] == ["checkpoint"]
    assert "W_query.weight" in found.changes[0].old
    assert "q_proj.weight" in found.changes[0].new
    assert "bit-identical, but the state_dict changed" in shown(found)


def test_a_new_name_that_is_meant_is_no_change() -> None:
    """A mapping says so, and so does a module that loads the old names."""
    assert diff(PlainMultiHead, Renamed, mapping={"W_query": "q_proj"}).same
    careful = diff(PlainMultiHead, LoadsTheOld)
    assert careful.same
    assert any("an old one loads all the same" in note for note in careful.notes)


def test_an_old_checkpoint_that_loads_and_means_something_else_is_a_change() -> None:
    """The same names and shapes, a matrix turned."""
    found = diff(PlainMultiHead, TurnedOut)
    assert found.results != "different"
    assert [change.what for change in found.changes] == [
        "an old state_dict loads, and the output is another"
    ]


def test_an_argument_that_is_gone_is_a_change() -> None:
    """With the biases that the old constructor makes, outputs are others, too."""
    found = diff(PlainMultiHead, WithoutBias)
    assert {"interface", "outputs"} <= {change.kind for change in found.changes}


def test_a_refusal_that_is_gone_is_a_change() -> None:
    """What was an error and is an answer now, and the other way round."""
    module = faults()["context-length-ignored"].module
    for pair in ((PlainMultiHead, module), (module, PlainMultiHead)):
        refusals = [c for c in diff(*pair).changes if c.kind == "refusal"]
        assert [change.clause for change in refusals] == ["error/too-many-tokens-raise"]
        assert "an answer" in (refusals[0].old, refusals[0].new)


def test_two_files_of_one_name_are_two_targets(tmp_path: Path) -> None:
    """And each has its own module beside it, which has the same name, too."""
    old, new = write(tmp_path / "old", USUAL), write(tmp_path / "new", USUAL, factor=2.0)
    before = list(sys.path)
    assert diff(old, write(tmp_path / "same", USUAL)).verdict == "bit-identical"
    found = diff(old, new)
    assert found.verdict == "different"
    assert (found.old, found.new) == (old, new)
    for name in [n for n in sys.modules if n == "scaling" or n.startswith("_target_attn")]:
        del sys.modules[name]
    sys.path[:] = before


def test_two_trees_of_one_package_are_two_targets(tmp_path: Path) -> None:
    """A file inside a package is imported as a module of it, relative imports and all."""
    before = list(sys.path)
    targets = []
    for tree, factor in (("old", 1.0), ("new", 2.0)):
        folder = tmp_path / tree
        folder.mkdir()
        target = write(folder / "pkg_of_two", USUAL, factor)
        path = Path(target.partition(":")[0])
        path.write_text(path.read_text().replace("from scaling", "from .scaling"))
        (folder / "pkg_of_two" / "__init__.py").touch()
        targets.append(target)
    assert diff(*targets).verdict == "different"
    assert diff(targets[0], targets[0]).verdict == "bit-identical"
    for name in [n for n in sys.modules if n.startswith("pkg_of_two")]:
        del sys.modules[name]
    sys.path[:] = before


def test_names_that_say_nothing_are_told_apart_by_trial(tmp_path: Path) -> None:
    old, new = write(tmp_path / "old", USUAL), write(tmp_path / "new", ODD)
    assert diff(old, new).verdict == "bit-identical"


def test_names_that_nobody_recognises_are_carried_by_a_mapping(tmp_path: Path) -> None:
    """Without one the question cannot be asked; with a wrong one outputs are others."""
    old, new = write(tmp_path / "old", USUAL), write(tmp_path / "new", ODD)
    for target in (old, new):  # with one layer more no trial tells them apart
        path = Path(target.partition(":")[0])
        text = path.read_text().replace("self.heads = num_heads", MORE)
        path.write_text(text)
    with pytest.raises(QuestionError, match=r"(?s)first\.weight.*--mapping"):
        diff(old, new)
    right = {USUAL[role]: ODD[role] for role in USUAL}
    assert diff(old, new, mapping=right).verdict == "bit-identical"
    assert diff(new, old, mapping={v: k for k, v in right.items()}).verdict == "bit-identical"
    wrong = right | {"W_query": "second", "W_key": "first"}
    assert diff(old, new, mapping=wrong).verdict == "different"


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"W_quary": "q_proj"}, "W_quary"),
        ({"W_query": "q_porj"}, "q_porj"),
        ({"W_query.weigh": "q_proj.weight"}, "W_query.weigh"),
        ({"W_query": "q_proj", "W_key": "q_proj"}, "q_proj"),
    ],
)
def test_a_mapping_of_names_that_are_not_there_is_refused(
    mapping: dict[str, str], said: str
) -> None:
    """The message names them, and what there is."""
    with pytest.raises(QuestionError, match=said):
        diff(PlainMultiHead, Renamed, mapping=mapping)


def test_a_mapping_is_read_from_pairs_or_from_toml(tmp_path: Path) -> None:
    """Dotted keys need no quotes; anything else is refused with the form that is expected."""
    path = tmp_path / "names.toml"
    path.write_text('W_query.weight = "q.weight"\n"W_key" = "k"\n')
    assert parse([str(path)]) == {"W_query.weight": "q.weight", "W_key": "k"}
    assert parse(["a=b", "c.d=e.f"]) == {"a": "b", "c.d": "e.f"}
    for wrong in (["a=b", "c"], ["=b"], ["no/such/file.toml"]):
        with pytest.raises(QuestionError, match="Expected"):
            parse(wrong)
    path.write_text("W_query = 3\n")
    with pytest.raises(QuestionError, match="W_query"):
        parse([str(path)])


def test_a_part_stands_for_what_is_inside_it() -> None:
    """The longest entry counts; a name that only begins alike is another one."""
    mapping = {"heads": "parts", "heads.0.q": "first"}
    assert renamed("heads.1.q.weight", mapping) == "parts.1.q.weight"
    assert renamed("heads.0.q.weight", mapping) == "first.weight"
    assert renamed("headset.q", mapping) == "headset.q"


def test_a_side_that_does_not_return_is_different_not_a_hang(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other comparisons still get their answer."""
    old = write(tmp_path / "old", USUAL)
    new = write(tmp_path / "new", USUAL)
    path = Path(new.partition(":")[0])
    path.write_text(
        path.read_text().replace(
            "query, key, value = parts", "query, key, value = self.wait(parts)"
        )
        + "\n    def wait(self, parts):\n        import os\n"
        "        return os._exit(3) if parts[0].requires_grad else parts\n"
    )
    code = main(["diff", old, new, "--profile", "quick", "--only", *SHAPE])
    out = capsys.readouterr().out
    assert code == 1
    assert "comparing the gradients" in out
    assert "exit code 3" in out
    assert f"outputs: {22 + LONG} of {22 + LONG} examples, up to 130 tokens, bit-identical" in out


@pytest.mark.parametrize(
    ("new", "said"),
    [("attention", "attention:CausalAttention"), ("attention:MultiHead", "MultiHeadAttention")],
)
def test_a_side_that_is_not_one_attention_class_is_refused(new: str, said: str) -> None:
    """The message names what there is."""
    with pytest.raises(QuestionError, match=said):
        diff("attention:MultiHeadAttention", new)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--mapping", "x"), "pairs old=new"), (("--profile", "slow"), "quick, ci, thorough")],
)
def test_an_option_that_means_nothing_is_refused_before_the_work(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and one message."""
    assert main(["diff", "attention", "attention", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_peak_memory_is_what_is_held_at_once() -> None:
    """Two tensors one after the other need half of what they need together."""

    def one_after_the_other() -> None:
        for _ in range(2):
            torch.ones(100_000)

    def together() -> None:
        _ = [torch.ones(100_000), torch.ones(100_000)]

    assert peak_memory(one_after_the_other) == 400_000
    assert peak_memory(together) == 800_000


class Told(nn.Module):
    """True attends; a row that sees nothing gives NaN."""

    def __init__(self, d_model: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, nn.Dropout(dropout)
        self.query, self.key = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)
        self.value, self.out = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)

    def hide(self, scores: Tensor, mask: Tensor) -> Tensor:
        return scores.masked_fill(~mask[:, None], -torch.inf)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        parts = (layer(x) for layer in (self.query, self.key, self.value))
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in parts)
        scores = q @ k.mT / q.shape[-1] ** 0.5
        scores = scores if mask is None else self.hide(scores, mask)
        return self.out((self.dropout(scores.softmax(-1)) @ v).transpose(1, 2).flatten(2))


class TrueHides(Told):
    def hide(self, scores: Tensor, mask: Tensor) -> Tensor:
        return super().hide(scores, ~mask)


class OfOtherName(Told):
    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        return super().forward(x, attn_mask)


class WithoutMask(Told):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class LostForManyTokens(Told):
    def hide(self, scores: Tensor, mask: Tensor) -> Tensor:
        return super().hide(scores, mask | (mask.shape[-1] > 4))


class InvertedForManyTokens(Told):
    def hide(self, scores: Tensor, mask: Tensor) -> Tensor:
        return super().hide(scores, mask ^ (mask.shape[-1] > 4))


def test_a_mask_that_means_the_opposite_is_a_change_though_each_side_holds_its_own_laws() -> None:
    found = diff(Told, TrueHides, "mask/shows-what-it-shows")
    assert [(c.kind, c.old, c.new) for c in found.changes] == [("convention", "attend", "hide")]
    assert (found.verdict, found.exit_code) == ("different", 1)
    printed = shown(found)
    assert "was       boolean mask: True attends" in printed
    assert "is        boolean mask: True hides" in printed


def test_calls_with_masks_are_compared_beside_outputs() -> None:
    found = diff(Told, OfOtherName)
    assert found.same
    assert found.calls.examples == found.calls.identical > 0
    assert "the argument mask of a call is attn_mask now" in found.notes


def test_an_argument_of_a_call_that_is_gone_is_a_change() -> None:
    found = diff(Told, WithoutMask)
    (change,) = found.changes
    assert (change.kind, change.old, change.new) == ("interface", "mask", "no")
    assert found.results == "bit-identical"


class AddsItsMask(Told):
    """The mask is added as a number."""

    def hide(self, scores: Tensor, mask: Tensor) -> Tensor:
        return scores + mask[:, None]


def test_an_argument_that_is_there_and_says_nothing_of_the_kind_any_more_is_different() -> None:
    found = diff(Told, AddsItsMask)
    (change,) = found.changes
    assert (change.kind, change.old) == ("calls", "by mask")
    assert found.verdict == "different"


def test_calls_that_were_wrong_and_are_wrong_in_another_way_are_different() -> None:
    """No clause tells: both sides break the same one."""
    found = diff(LostForManyTokens, InvertedForManyTokens, "mask/shows-what-it-shows")
    (change,) = found.changes
    assert change.kind == "calls"
    assert "a call with mask" in change.old
    assert change.counterexample is not None
    assert "different: calls" in shown(found)


def test_clauses_that_one_bug_breaks_are_one_change_with_its_name() -> None:
    fault = faults()["dropout-in-eval"]
    laws = ("dropout/inert-in-eval", "state/forward-is-pure", "state/train-and-eval-reach-dropout")
    found = diff(PlainMultiHead, fault.module, *laws)
    (change,) = found.changes
    assert {change.clause, *change.also} == {*laws}
    assert change.name == "dropout alive in eval"
    assert "behaves like dropout alive in eval" in shown(found)


class Turning(PlainRotary):
    """Turned by its own positions; a step is a method."""


class TurnedByHand(PlainRotary):
    """The same numbers, pair by pair."""

    def rotate(self, heads: Tensor, angles: Tensor) -> Tensor:
        first, second = heads.chunk(2, dim=-1)
        turns = torch.polar(torch.ones_like(angles).double(), angles.double())
        turned = torch.complex(first.double(), second.double()) * turns
        return torch.cat([turned.real, turned.imag], dim=-1).to(heads)


class OfAnotherBase(PlainRotary):
    def table(self, positions: int, base: float) -> Tensor:
        return super().table(positions, 2.0 * base)


def test_long_rows_are_compared_of_what_positions_turn() -> None:
    found = diff(Turning, TurnedByHand)
    assert found.same
    assert found.outputs.tokens == max(lengths("quick"))


def test_another_base_of_positions_is_named() -> None:
    found = diff(Turning, OfAnotherBase)
    assert {change.kind for change in found.changes} == {"outputs", "convention"}
    assert "rotary: halves, base 20000, whole head" in shown(found)
