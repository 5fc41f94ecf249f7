"""Functions that nobody has read: right ones pass in any style, each known cheat is told by its name."""

from __future__ import annotations

import ast
import json
from functools import cache
from pathlib import Path

import pytest

import properties
from properties import Judgement, QuestionError, Spec
from properties.cli import main
from properties.judging.judge import judge_all
from properties.judging.plan import freeze
from properties.judging.spec import spec_of
from properties.tests.judged import BY_TORCH, CHEATS, ENDING, FAULTS, FLASH, IN_BLOCKS, PLAIN

FORMATS = ("float32", "bfloat16")
HOME = Path(properties.__file__).parent
MASKED = Spec(causal="causal", mask="mask", formats=FORMATS, tokens=130)


@cache
def cheats() -> dict[str, Judgement]:
    """Each cheat, by what has to be told of it; torch is imported once for all."""
    spec = Spec(library=False, tokens=33)
    return dict(zip(CHEATS, judge_all(CHEATS.values(), spec, timeout=20.0), strict=True))


@pytest.mark.parametrize("kind", CHEATS)
def test_a_cheat_is_told_by_its_name_and_by_no_other_cheat_s(kind: str) -> None:
    found = cheats()[kind]
    assert not found.right
    assert found.told(kind), found
    assert {f.kind for f in found.findings} & CHEATS.keys() == {kind}, found


def test_what_is_right_passes_in_any_style() -> None:
    for found in judge_all([PLAIN, BY_TORCH], MASKED):
        assert found.right, found


def test_what_ends_is_told_by_how_it_ended_and_the_next_one_is_judged_by_itself() -> None:
    """While it is loaded, in a call, in a row of calls."""
    sources = [source for wrong in ENDING.values() for source in (wrong, PLAIN)]
    found = judge_all(sources, Spec(tokens=33))
    assert all(one.right for one in found[1::2])
    for how, one in zip(ENDING, found[::2], strict=True):
        assert how in str(one), one


def test_the_command_judges_what_writes_to_its_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In blocks of keys; 0 where it is right, 2 where the spec cannot be read."""
    (tmp_path / "kernel.py").write_text(IN_BLOCKS)
    spec, told = tmp_path / "spec.toml", tmp_path / "told.json"
    spec.write_text('causal = "causal"\nmask = "mask"\nout = "out"\ntokens = 70\n')
    target = f"{tmp_path / 'kernel.py'}:in_blocks"
    assert main(["judge", target, "--spec", str(spec), "--seed", "5", "--json", str(told)]) == 0
    found = json.loads(told.read_text())
    assert found["right"]
    assert found["seed"] == 5
    assert found["questions"]["asked"] == found["questions"]["of"] > 5
    spec.write_text("tokens = ")
    assert main(["judge", target, "--spec", str(spec)]) == 2
    assert main(["judge", target, "--spec", str(spec), "--json", str(tmp_path / "kernel.py")]) == 2
    assert "would overwrite" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["judge", target, "--spec", str(spec), "--timeout", "0"])


@pytest.mark.parametrize(
    ("told", "word"),
    [({"layout": "BDHT"}, "layout"), ({"formats": ["fp8"]}, "formats"), ({"masks": "m"}, "masks")],
)
def test_a_spec_with_another_meaning_is_refused(told: dict[str, object], word: str) -> None:
    with pytest.raises(QuestionError, match=word):
        spec_of(told)


def test_source_without_a_function_is_refused() -> None:
    with pytest.raises(QuestionError, match="no public function"):
        properties.judge("x = 1\n", Spec())


def test_a_seed_draws_the_same_plan_and_none_another_one() -> None:
    one, same, other = (freeze(Spec(tokens=9), seed).questions[0].contents[0] for seed in (1, 1, 2))
    assert (one.right == same.right).all()
    assert not (one.right == other.right).all()


def test_what_runs_beside_the_candidate_imports_nothing_of_ours() -> None:
    text = (HOME / "judging" / "host.py").read_text(encoding="utf-8")
    names = [
        node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert names
    assert "properties" not in "".join(map(ast.unparse, names))


FLASH_LIKE = Spec(
    causal="is_causal",
    scale="scale",
    bias="attn_bias",
    padding="key_padding_mask",
    hides=True,
    layout="BTHD",
    formats=("bfloat16",),
    groups=True,
    cross=True,
    corner="bottom right",
    tokens=260,
)


def test_each_claim_is_asked_and_a_fault_of_it_is_named() -> None:
    wrong = [FLASH.replace(some, other) for some, other, _ in FAULTS.values()]
    right, *found = judge_all([FLASH, *wrong], FLASH_LIKE)
    assert right.right, right
    for (_, _, name), one in zip(FAULTS.values(), found, strict=True):
        assert one.told("wrong result")
        assert name in str(one), one
