"""Files and notebooks are read as they lie on a disk: with demonstrations, siblings and broken cells."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

import attention
from properties import Subject
from properties.basics.errors import QuestionError, SubjectError
from properties.cases.strategies import make_case, pinned_sizes
from properties.findings.scripts import construction
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.targets import find, survey
from properties.runs.runner import run

HEAD = "import torch\nfrom torch import nn\n"
MIXER = """
class SelfAttention(nn.Module):
    def __init__(self, d_in, d_out):
        super().__init__()
        self.W_query = nn.Linear(d_in, d_out, bias=False)
        self.W_key = nn.Linear(d_in, d_out, bias=False)
        self.W_value = nn.Linear(d_in, d_out, bias=False)

    def forward(self, x):
        q, k, v = self.W_query(x), self.W_key(x), self.W_value(x)
        return torch.softmax(q @ k.mT / k.shape[-1] ** 0.5, -1) @ v
"""
UNSCALED = MIXER.replace(" / k.shape[-1] ** 0.5", "")
SCALE = "weights/log-odds-are-scaled-score-differences"


@pytest.fixture(autouse=True)
def import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test makes importable is so for itself alone."""
    monkeypatch.setattr(sys, "path", list(sys.path))


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def notebook(path: Path, cells: list[str]) -> Path:
    found = [{"cell_type": "code", "source": cell} for cell in cells]
    return written(path, json.dumps({"cells": found}))


def only(path: Path) -> Subject:
    [subject] = find(str(path))
    return subject


def agrees(subject: Subject) -> bool:
    case = make_case(subject, pinned_sizes(subject)[1], "float64", "ordinary", True, 0.5, 1, 0)
    return case.known and bool(abs(case.run() - case.trace.output).max() < 1e-9)


def test_what_forward_keeps_is_no_matrix(tmp_path: Path) -> None:
    """self.querys = self.W_query(x) is there after a call, and is none of its projections."""
    kept = MIXER.replace("q, k, v = ", "self.querys, self.keys, self.values = ").replace(
        "return torch", "q, k, v = self.querys, self.keys, self.values\n        return torch"
    )
    subject = only(written(tmp_path / "kept.py", HEAD + kept))
    assert agrees(subject)
    assert subject.matched["query"] == "W_query.weight (transposed)"


def test_d_int_is_the_width_of_the_input(tmp_path: Path) -> None:
    """A slip of the hand that many have copied."""
    assert agrees(only(written(tmp_path / "slip.py", HEAD + MIXER.replace("d_in", "d_int"))))


def test_siblings_are_found_from_the_root_of_a_project(tmp_path: Path) -> None:
    """Where its modules name each other from there, and its folders are no packages."""
    written(tmp_path / "pyproject.toml", "")
    written(tmp_path / "rooms/first_room/base_of_mine.py", HEAD + MIXER)
    path = written(
        tmp_path / "rooms/second_room/mine.py",
        "from rooms.first_room.base_of_mine import SelfAttention\n"
        "class Mine(SelfAttention):\n    pass\n",
    )
    assert agrees(only(path))


def test_siblings_are_found_from_a_folder_above_that_holds_them(tmp_path: Path) -> None:
    """Where nothing says that it is a project, and this process works elsewhere."""
    written(tmp_path / "lessons_of_mine/third/base.py", HEAD + MIXER)
    text = "from lessons_of_mine.third.base import SelfAttention\nclass Mine(SelfAttention):\n    pass\n"
    assert agrees(only(written(tmp_path / "lessons_of_mine/fourth/mine.py", text)))
    assert sys.path[-1] == str(tmp_path)


def test_a_file_whose_classes_are_lost_for_an_import_is_told_so(tmp_path: Path) -> None:
    """Not that it has none."""
    path = written(tmp_path / "lost.py", "from nothing_of_mine import A\nclass B(A):\n    pass\n")
    with pytest.raises(QuestionError, match="No module named 'nothing_of_mine'") as refused:
        only(path)
    assert "What to do: mend what failed, or run this where" in str(refused.value)


def test_a_file_of_a_package_finds_its_own_by_relative_imports(tmp_path: Path) -> None:
    """It is imported as a module of the package."""
    written(tmp_path / "package_of_mine/__init__.py", "")
    written(tmp_path / "package_of_mine/base.py", HEAD + MIXER)
    text = "from .base import SelfAttention\nclass Mine(SelfAttention):\n    pass\n"
    assert agrees(only(written(tmp_path / "package_of_mine/mine.py", text)))


@pytest.mark.parametrize("package", [True, False])
def test_a_package_of_the_users_that_is_called_as_ours_comes_first(
    tmp_path: Path, package: bool
) -> None:
    """With an __init__.py and without, and what this process has imported of ours stays."""
    if package:
        written(tmp_path / "src/attention/__init__.py", "")
    written(tmp_path / "src/attention/mixing.py", HEAD + MIXER)
    text = "from attention.mixing import SelfAttention\nclass Mine(SelfAttention):\n    pass\n"
    assert agrees(only(written(tmp_path / "src/mine.py", text)))
    assert sys.modules["attention"] is attention


def test_definitions_are_kept_of_a_file_whose_demonstration_fails(tmp_path: Path) -> None:
    """What stands below it is not run, and this is said."""
    text = (
        f"{HEAD}text = open('no such file').read()\nSIZE = 3\nprint(text)\n{MIXER}\n"
        "open('never', 'w')\nmodel = SelfAttention(3)\n"
    )
    path = written(tmp_path / "lecture.py", text)
    subject = only(path)
    assert agrees(subject)
    [note] = [note for note in subject.notes if note.startswith("passed over: ")]
    assert note.startswith("passed over: line 3 failed (FileNotFoundError: ")
    assert note.endswith("; below it, definitions alone are kept")
    assert sys.modules[type(built(subject)).__module__].SIZE == 3
    assert not Path("never").exists()
    assert construction.imports(subject)[-1] == "Attention = SelfAttention"


def built(subject: Subject) -> torch.nn.Module:
    assert isinstance(subject, ModuleSubject)
    case = make_case(subject, pinned_sizes(subject)[0], "float64", "ordinary", False, 0.5, 1, 0)
    return case.build().module


def test_a_name_that_a_failed_line_would_bind_is_told_with_it(tmp_path: Path) -> None:
    """The class is not blamed for it."""
    text = f"{HEAD}from nothing_of_mine import scale\n" + MIXER.replace("/ k", "/ scale / k")
    with pytest.raises(QuestionError) as refused:
        only(written(tmp_path / "scaled.py", text))
    told = "scale is not there since line 3 failed (ModuleNotFoundError: No module named 'nothing"
    assert told in str(refused.value)


def test_a_name_that_its_constructor_lacks_is_no_matter_of_its_arguments(tmp_path: Path) -> None:
    """The advice is about the line that failed, not about what the class is handed."""
    text = f"{HEAD}from nothing_of_mine import Linear\n" + MIXER.replace("nn.Linear", "Linear")
    with pytest.raises(QuestionError) as refused:
        only(written(tmp_path / "layers.py", text))
    assert "Linear is not there since line 3 failed (ModuleNotFoundError" in str(refused.value)
    assert "make that line run here" in str(refused.value)
    assert "factory" not in str(refused.value)


def test_a_cell_that_is_no_python_is_passed_over_and_named(tmp_path: Path) -> None:
    """The others are read as ever, their code too, and lines count from where their cells start."""
    cells = [HEAD, "x = = 3", MIXER.replace("SelfAttention", "Mixing"), "%cd ..\nf'{' + 1\ny z"]
    subject = only(notebook(tmp_path / "cells.ipynb", cells))
    assert agrees(subject)
    assert (
        "passed over: cell 2: is not Python (SyntaxError: invalid syntax, line 1)" in subject.notes
    )
    assert any(note.startswith("passed over: cell 4: is not Python") for note in subject.notes)
    assert "class Mixing(nn.Module):" in "\n".join(construction.imports(subject))


def test_a_line_that_fails_in_forward_is_told_by_its_cell(tmp_path: Path) -> None:
    """As its author counts."""
    path = notebook(
        tmp_path / "fails.ipynb", [HEAD, MIXER.replace("q, k, v = s", "q, k, v = 1 / 0, s")]
    )
    subject = survey(str(path)).subjects[0]
    case = make_case(subject, pinned_sizes(subject)[0], "float32", "ordinary", False, 0.5, 1, 0)
    with pytest.raises(SubjectError, match=r"fails\.ipynb, cell 2, line 10"):
        case.run()


def test_a_constructor_that_forgets_that_of_modules_is_told_so(tmp_path: Path) -> None:
    """In place of what nn.Module says about it."""
    text = HEAD + MIXER.replace("        super().__init__()\n", "")
    with pytest.raises(
        QuestionError, match=r"does not call super\(\).__init__\(\) before"
    ) as refused:
        only(written(tmp_path / "forgets.py", text))
    assert "write super().__init__() as the first line" in str(refused.value)


CAUSAL = """
class CausalAttention(nn.Module):
    def __init__(self, d_in, d_out, context_length):
        super().__init__()
        self.W_query = nn.Linear(d_in, d_out)
        self.W_key = nn.Linear(d_in, d_out)
        self.W_value = nn.Linear(d_in, d_out)
        self.register_buffer("mask", torch.ones(context_length, context_length).triu(1).bool())

    def forward(self, x):
        q, k, v = self.W_query(x), self.W_key(x), self.W_value(x)
        scores = (q @ k.T / k.shape[-1] ** 0.5).masked_fill(self.mask[: len(x), : len(x)], -torch.inf)
        return torch.softmax(scores, -1) @ v
"""
WIDE = """
class SelfAttention(nn.Module):
    def __init__(self, emb, heads):
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(emb, emb * heads) for _ in range(3))
        self.unify_heads = nn.Linear(emb * heads, emb)

    def forward(self, x):
        shape = (*x.shape[:2], self.heads, x.shape[-1])
        q, k, v = (f(x).view(shape).transpose(1, 2) for f in (self.to_q, self.to_k, self.to_v))
        mixed = torch.softmax(q @ k.mT / x.shape[-1] ** 0.5, -1) @ v
        return self.unify_heads(mixed.transpose(1, 2).flatten(2))
"""
GATED = """
class SelfAttention(nn.Module):
    def __init__(self, emb, heads):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(emb, 2 * emb)
        self.to_k, self.to_v, self.unify_heads = (nn.Linear(emb, emb) for _ in range(3))

    def forward(self, x):
        q, gate = self.to_q(x).chunk(2, -1)
        parts = q, self.to_k(x), self.to_v(x)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1) @ v
        return self.unify_heads(mixed.transpose(1, 2).flatten(2) * gate.sigmoid())
"""


def test_a_causal_class_of_one_sequence_is_not_asked_for_batches(tmp_path: Path) -> None:
    """That it takes none is no failure, and all else is asked."""
    subject = only(written(tmp_path / "alone.py", HEAD + CAUSAL))
    assert subject.lacking["batched"] == "a batch (B, T, d_in) is refused"
    assert agrees(subject)
    report = run(subject, profile="quick", only=["shape", "causality"])
    assert report.failed == []


def test_heads_as_wide_as_the_input_are_called_so(tmp_path: Path) -> None:
    """No adapter is shown where none would help."""
    lacking = only(written(tmp_path / "wide.py", HEAD + WIDE)).lacking["projections"]
    assert lacking.startswith("each head is as wide as the input (to_q.weight has the shape (")
    assert "What to do" not in lacking


def test_a_gate_beside_the_queries_makes_no_wide_heads(tmp_path: Path) -> None:
    """Of two heads both are twice as wide, of four only the latter would be."""
    lacking = only(written(tmp_path / "gated.py", HEAD + GATED)).lacking["projections"]
    assert lacking.startswith("to_q.weight has the shape (")


def test_a_wrong_class_is_told_from_such_files_as_well(tmp_path: Path) -> None:
    """Whatever stands around it."""
    path = written(tmp_path / "wrong.py", f"{HEAD}open('no such file')\n{UNSCALED}")
    cells = notebook(tmp_path / "wrong.ipynb", [HEAD, "x = = 3", UNSCALED])
    for each in (path, cells):
        assert run(only(each), profile="quick", only=[SCALE]).failed == [SCALE]
