"""Classes that read their sizes from their own module are built in all sizes, and leave it as it was."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from properties import Subject
from properties.cases.case import Case
from properties.cases.strategies import make_case, pinned_sizes
from properties.findings.scripts import construction
from properties.recognition.targets import find, load
from properties.runs.runner import run
from properties.subjects.subject import Config

DATA = Path(__file__).parent / "data" / "lecture.py"
SOUND = {"Head": "causal", "MultiHeadAttention": "multihead", "LateAttention": "multihead"}
SCALE = "weights/log-odds-are-scaled-score-differences"


def named(name: str) -> Subject:
    [subject] = find(f"{DATA}:{name}")
    return subject


def examples(subject: Subject) -> list[Case]:
    return [
        make_case(subject, sizes, "float64", "ordinary", True, 0.5, 1, seed)
        for seed, sizes in enumerate(pinned_sizes(subject))
    ]


@pytest.mark.parametrize("name", SOUND)
def test_a_class_of_a_lecture_agrees_with_the_oracle_in_all_sizes(name: str) -> None:
    """And its module has afterwards what it had before."""
    before = {key: value for key, value in vars(load(str(DATA))).items() if key != "__builtins__"}
    subject = named(name)
    assert subject.family == SOUND[name]
    for case in examples(subject):
        assert case.known, subject.lacking
        np.testing.assert_allclose(case.run(), case.trace.output, rtol=1e-9, atol=1e-9)
    after = {key: value for key, value in vars(load(str(DATA))).items() if key != "__builtins__"}
    assert after == before


def test_two_modules_that_read_in_forward_have_each_their_own_sizes() -> None:
    """Also where they are called in turn, copied, or raise."""
    cases = examples(named("LateAttention"))[1:3]
    built = [case.build() for case in cases]
    copies = [copy.deepcopy(one.module) for one in built]
    copies += [pickle.loads(pickle.dumps(one.module)) for one in built]
    for one, case in zip([*built, *built], [*cases, *cases], strict=True):
        np.testing.assert_allclose(one.run(case.x), case.trace.output, rtol=1e-9, atol=1e-9)
    for module, case in zip(copies, [*cases, *cases], strict=True):
        x = built[0].tensor(case.x)
        np.testing.assert_allclose(module(x).detach(), case.trace.output, rtol=1e-9, atol=1e-9)
        with pytest.raises(RuntimeError):
            module(x[..., :-1])
    assert load(str(DATA)).n_embd == 32


def test_the_names_are_told_as_those_of_the_module() -> None:
    """Of numbers that attention has no name for, nothing is changed."""
    matched = named("MultiHeadAttention").matched
    assert matched["d_in = d_out"] == "n_embd of its module"
    assert matched["context_length"] == "block_size of its module"
    assert matched["num_heads"] == "num_heads"
    assert "scale_by" not in str(named("LateAttention").matched)


def test_a_name_that_is_not_there_is_set_all_the_same(tmp_path: Path) -> None:
    """As where a cell, or a line that fails, assigns it."""
    text = (
        DATA.read_text(encoding="utf-8").replace("n_embd = 32\n", "").replace("dropout = 0.2\n", "")
    )
    path = tmp_path / "without.py"
    path.write_text(text, encoding="utf-8")
    [subject] = find(f"{path}:Head")
    case = examples(subject)[1]
    np.testing.assert_allclose(case.run(), case.trace.output, rtol=1e-9, atol=1e-9)
    module = sys.modules[type(case.build().module).__module__]
    assert not {"n_embd", "dropout"} & set(vars(module))


def test_a_script_sets_them_before_a_module_is_made() -> None:
    """In one line, which names no file."""
    config = Config(pinned_sizes(named("LateAttention"))[0])
    assert construction.preparation(named("LateAttention"), config) == [
        "vars(sys.modules[Attention.__module__]).update(dropout=0.0, n_embd=12, n_head=3)"
    ]


def test_a_wrong_class_of_a_lecture_is_told() -> None:
    """Its scale is that of another width, read when it is built or in each call."""
    report = run(named("WideHead"), profile="quick", only=[SCALE])
    assert [finding.name for finding in report.findings] == ["scale 1/sqrt(d_in)"]
    late = examples(named("LateWideAttention"))
    assert max(abs(case.run() - case.trace.output).max() for case in late) > 1e-3
