"""A name leads to subjects, or to one message that says why it does not."""

import inspect
import json
import sys
import traceback
from pathlib import Path

import pytest
import torch

import attention
from properties import Subject
from properties.basics.errors import QuestionError, SubjectError
from properties.cases.case import Case
from properties.cases.strategies import make_case, pinned_sizes
from properties.recognition.adapters import recognise
from properties.recognition.targets import find, survey
from properties.subjects.subject import Config

DATA = Path(__file__).parent / "data"

RETYPED = [
    "import torch\nimport torch.nn as nn\n",
    "%matplotlib inline\n!pip install something\nraise SystemExit('this cell ran')",
    """\
class SelfAttentionV1(nn.Module):
    def __init__(self, dim_in, dim_out):
        super().__init__()
        self.Wq = nn.Parameter(torch.rand(dim_in, dim_out))
        self.Wk = nn.Parameter(torch.rand(dim_in, dim_out))
        self.Wv = nn.Parameter(torch.rand(dim_in, dim_out))

    def forward(self, x):
        q, k, v = x @ self.Wq, x @ self.Wk, x @ self.Wv
        return torch.softmax(q @ k.T / k.shape[-1] ** 0.5, dim=-1) @ v

open('never', 'w').write('this ran')
print(SelfAttentionV1(3, 2)(inputs))
""",
    """\
class SelfAttentionV2(nn.Module):
    def __init__(self, dim_out, dim_in):
        super().__init__()
        self.Wq = nn.Linear(dim_in, dim_out, bias=False)
        self.Wk = nn.Linear(dim_in, dim_out, bias=False)
        self.Wv = nn.Linear(dim_in, dim_out, bias=False)

    def forward(self, x):
        q, k, v = self.Wq(x), self.Wk(x), self.Wv(x)
        return torch.softmax(q @ k.T / k.shape[-1] ** 0.5, dim=-1) @ v
""",
    """\
%%time
class MaskedAttention(nn.Module):
    def __init__(self, ctx_len, dim_in, dim_out, drop_rate, kqv_bias=False):
        super().__init__()
        self.Wq = nn.Linear(dim_in, dim_out, bias=kqv_bias)
        self.Wk = nn.Linear(dim_in, dim_out, bias=kqv_bias)
        self.Wv = nn.Linear(dim_in, dim_out, bias=kqv_bias)
        self.drop = nn.Dropout(drop_rate)
        self.register_buffer("mask", torch.triu(torch.ones(ctx_len, ctx_len), diagonal=1))

    def forward(self, x):
        q, k, v = self.Wq(x), self.Wk(x), self.Wv(x)
        scores = q @ k.transpose(1, 2)
        scores.masked_fill_(self.mask.bool()[:x.shape[1], :x.shape[1]], -torch.inf)
        return self.drop(torch.softmax(scores / k.shape[-1] ** 0.5, dim=-1)) @ v
""",
    """\
class Wrapper(nn.Module):
    def __init__(self, n_heads, dim_in, dim_out, ctx_len, drop_rate):
        super().__init__()
        self.heads = nn.ModuleList(
            [MaskedAttention(ctx_len, dim_in, dim_out, drop_rate) for _ in range(n_heads)]
        )

    def forward(self, x):
        return torch.cat([head(x) for head in self.heads], dim=-1)
""",
    """\
class MultiHead(nn.Module):
    def __init__(self, n_heads, drop_rate, dim_in, dim_out, ctx_len, kqv_bias=False):
        super().__init__()
        self.n_heads = n_heads
        self.Wq = nn.Linear(dim_in, dim_out, bias=kqv_bias)
        self.Wk = nn.Linear(dim_in, dim_out, bias=kqv_bias)
        self.Wv = nn.Linear(dim_in, dim_out, bias=kqv_bias)
        self.Wo = nn.Linear(dim_out, dim_out)
        self.drop = nn.Dropout(drop_rate)
        self.register_buffer("mask", torch.triu(torch.ones(ctx_len, ctx_len), diagonal=1))

    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = (
            part.view(b, n, self.n_heads, -1).transpose(1, 2)
            for part in (self.Wq(x), self.Wk(x), self.Wv(x))
        )
        scores = q @ k.transpose(2, 3)
        scores.masked_fill_(self.mask.bool()[:n, :n], -torch.inf)
        weights = self.drop(torch.softmax(scores / k.shape[-1] ** 0.5, dim=-1))
        return self.Wo((weights @ v).transpose(1, 2).contiguous().view(b, n, -1))
""",
    "class FeedForward(nn.Module):\n    pass\n",
]


def write_notebook(path: Path, cells: list[str]) -> Path:
    document = {
        "nbformat": 4,
        "cells": [
            {"cell_type": "markdown", "source": ["# attention\n", "raise SystemExit"]},
            *({"cell_type": "code", "source": cell.splitlines(True)} for cell in cells),
        ],
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    return write_notebook(tmp_path / "chapter.ipynb", RETYPED)


def examples(subject: Subject) -> list[Case]:
    return [
        make_case(subject, sizes, "float64", "ordinary", True, 0.5, 1, seed)
        for seed, sizes in enumerate(pinned_sizes(subject))
    ]


def refusal(target: object, family: str | None = None) -> str:
    """The message of the refusal, which has all its parts."""
    with pytest.raises(QuestionError) as refused:
        find(target, family)
    message = str(refused.value)
    assert "Expected: " in message
    assert "What to do: " in message
    return message


def test_a_package_gives_every_attention_class_inside_it() -> None:
    """The package's own classes, wherever in it they are defined, under names to call them by."""
    assert {subject.name for subject in find("attention")} == {
        f"attention:{name}" for name in attention.__all__ if name != "functional"
    }


def test_a_module_gives_only_what_it_defines_itself() -> None:
    """An imported class belongs to the module that it comes from."""
    assert [subject.name for subject in find("attention.fused")] == [
        "attention.fused:FusedMultiHeadAttention"
    ]


def test_a_class_a_string_and_a_factory_give_the_same_subject() -> None:
    """The object itself may be named as well as a string for it."""
    for target in (attention.CausalAttention, "attention:CausalAttention", lambda_like):
        [subject] = find(target)
        assert subject.family == "causal"


def lambda_like(d_in: int, d_out: int, context_length: int, dropout: float) -> torch.nn.Module:
    return attention.CausalAttention(d_in, d_out, context_length, dropout)


class Adapted(Subject):
    family = "self"
    capabilities = frozenset({"batched"})

    def build(self, config: Config, weights: object) -> torch.nn.Module:
        return torch.nn.Identity()


class Misspelt(Adapted):
    family = "decoder"


class Boastful(Adapted):
    capabilities = frozenset({"batched", "everything"})


class Demanding(Adapted):
    def __init__(self, size: int) -> None:
        self.size = size


def test_an_adapter_is_taken_as_a_class_and_as_an_instance() -> None:
    """Whoever writes a Subject has said everything."""
    instance = Adapted()
    assert find(instance) == [instance]
    assert [type(subject) for subject in find(Adapted)] == [Adapted]
    assert find(Adapted, "plain")[0].family == "plain"
    assert instance.family == "self"


@pytest.mark.parametrize(
    ("adapter", "part"),
    [
        (Misspelt, "Misspelt.family is 'decoder'"),
        (Boastful, "Boastful.capabilities holds everything"),
        (Demanding, "Demanding() raised TypeError"),
    ],
)
def test_a_wrong_adapter_is_refused(adapter: type[Subject], part: str) -> None:
    """A family or a capability that does not exist would silently choose nothing."""
    assert part in refusal(adapter)


def test_a_file_gives_its_classes_and_notes_what_is_none() -> None:
    """Blocks, feed-forward layers and helpers are not attention, and this is said."""
    found = survey(str(DATA / "retypings.py"))
    assert not found.refused
    names = {subject.name.rpartition(":")[2] for subject in found.subjects}
    assert {"MatrixAttention", "Head", "Mixer", "HeadLayersAttention", "PlainAttention"} <= names
    assert found.subjects[0].notes[-1] == (
        "not attention, not asked: Doc, Affine, Wrapped, Columns, TransformerBlock"
    )


def test_a_base_class_without_a_forward_is_not_asked() -> None:
    """What only holds the layers for others cannot be right or wrong."""
    names = {s.name.rpartition(":")[2] for s in find(str(DATA / "faulty.py"))}
    assert "MultiWithoutMask" in names
    assert not {"Projected", "OneHead"} & names


def test_a_survey_reports_what_can_be_asked_beside_what_cannot() -> None:
    """One class with a setting that nobody knows does not hide the verdict on the others."""
    found = survey(str(DATA / "refused.py"))
    assert [subject.name.rpartition(":")[2] for subject in found.subjects] == ["Three"]
    assert f"{DATA / 'refused.py'}:ConfigAttention" in found.refused
    with pytest.raises(QuestionError, match=r"The others can, by name: .*refused\.py:Three"):
        find(str(DATA / "refused.py"))


def test_a_files_siblings_can_be_imported(tmp_path: Path) -> None:
    """The folder of a file is importable, as it is for a script."""
    (tmp_path / "sibling_of_mine.py").write_text("from attention import CausalAttention\n")
    main = tmp_path / "main.py"
    main.write_text(
        "from sibling_of_mine import CausalAttention\nclass Mine(CausalAttention): ...\n"
    )
    assert find(f"{main}:Mine")[0].family == "causal"


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    """A second look in one process sees the second version."""
    path = tmp_path / "mine.py"
    path.write_text("from attention import CausalAttention as Attention")
    assert find(f"{path}:Attention")[0].family == "causal"
    path.write_text("from attention import SelfAttention_v2 as Attention")
    assert find(f"{path}:Attention")[0].family == "self"


def test_the_working_directory_is_importable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module beside the person who asks is found."""
    (tmp_path / "beside_me.py").write_text("from attention import CausalAttention\n")
    monkeypatch.chdir(tmp_path)
    assert find("beside_me:CausalAttention")[0].name == "beside_me:CausalAttention"


def test_a_notebook_gives_every_class_in_it_and_runs_nothing_else(
    notebook: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Imports, classes and functions are run; the cells that raise, print or write are not."""
    monkeypatch.chdir(notebook.parent)
    subjects = find(str(notebook))
    assert {s.name.rpartition(":")[2]: s.family for s in subjects} == {
        "SelfAttentionV1": "self",
        "SelfAttentionV2": "self",
        "MaskedAttention": "causal",
        "Wrapper": "wrapper",
        "MultiHead": "multihead",
    }
    assert capsys.readouterr().out == ""
    assert not Path("never").exists()
    assert "not attention, not asked: FeedForward" in subjects[0].notes
    for case in [case for subject in subjects for case in examples(subject)]:
        assert abs(case.run() - case.trace.output).max() < 1e-9


def test_a_notebooks_code_can_be_read_and_traced(notebook: Path) -> None:
    """inspect.getsource and tracebacks show the cells' own lines."""
    subject = find(f"{notebook}:MultiHead")[0]
    built = subject.build(Config(pinned_sizes(subject)[0]), None)
    assert inspect.getsource(type(built)) == RETYPED[6]
    assert "def forward(self, x):" in inspect.getsource(type(built).forward)
    with pytest.raises(RuntimeError) as failed:
        built(torch.zeros(1, 2, 99))
    assert "for part in (self.Wq(x), self.Wk(x), self.Wv(x))" in "".join(
        traceback.format_exception(failed.value)
    )


def test_a_notebook_names_the_cell_of_what_raises(tmp_path: Path) -> None:
    """A line in a cell can be found by the person who wrote it."""
    cells = [
        "import torch",
        "class BadAttention(torch.nn.Module):\n    def __init__(self):\n        1 / 0",
    ]
    path = write_notebook(tmp_path / "bad.ipynb", cells)
    assert "ZeroDivisionError: division by zero (bad.ipynb, cell 3, line 3)" in refusal(str(path))


def test_a_notebooks_constants_are_not_run_and_this_is_said(tmp_path: Path) -> None:
    """A class that needs them is not blamed for it."""
    cells = [
        "import torch\nfrom torch import nn\nimport torch.nn.functional as F",
        "n_embd = 32\nscale = 2.0",
        "class Head(nn.Module):\n"
        "    def __init__(self, head_size):\n"
        "        super().__init__()\n"
        "        self.query = nn.Linear(n_embd, head_size)\n"
        "        self.key = nn.Linear(n_embd, head_size)\n"
        "        self.value = nn.Linear(n_embd, head_size)\n"
        "    def forward(self, x):\n"
        "        return self.value(x)\n",
        "class ScaledAttention(nn.Module):\n"
        "    def __init__(self, d_in, d_out):\n"
        "        super().__init__()\n"
        "        self.q, self.k = nn.Linear(d_in, d_out), nn.Linear(d_in, d_out)\n"
        "        self.v = nn.Linear(d_in, d_out)\n"
        "    def forward(self, x):\n"
        "        return F.softmax(self.q(x) @ self.k(x).mT * scale, -1) @ self.v(x)\n",
    ]
    path = write_notebook(tmp_path / "constants.ipynb", cells)
    assert find(f"{path}:Head")[0].matched["d_in"] == "n_embd of its module"
    assert "scale is assigned in cell 3, but only the imports" in refusal(f"{path}:ScaledAttention")


def test_a_failed_import_of_a_notebook_is_named_where_something_is_missing(tmp_path: Path) -> None:
    """What could not be defined is not merely absent."""
    cells = [
        "import no_such_package_at_all",
        "class Attention(no_such_package_at_all.Module):\n    pass",
        "def (",
    ]
    path = write_notebook(tmp_path / "broken.ipynb", cells)
    message = refusal(f"{path}:Attention")
    assert "cell 2: `import no_such_package_at_all` failed (ModuleNotFoundError" in message
    assert "cell 3: `class Attention` failed (NameError" in message
    assert "cell 4: is not Python (SyntaxError" in message
    assert "cell 3: `class Attention` failed" in refusal(str(path))


def test_magics_are_dropped_and_calculations_are_not(tmp_path: Path) -> None:
    """A line may start with % inside a calculation; only what Python refuses is replaced."""
    cell = (
        "%load_ext autoreload\n"
        "files = !ls\n"
        "torch?\n"
        "!pip install \\\n"
        "    this and that\n"
        "from __future__ import annotations\n"
        "from attention import CausalAttention\n"
        "def remainder(a, b):\n"
        "    !echo hello\n"
        "    return (a\n"
        "        % b)\n"
        "class Mine(CausalAttention):\n"
        "    note: Undefined = None\n"
    )
    other = ["%%bash\nrm -rf class", "%%capture\ndef f(x):\n    return x\n"]
    path = write_notebook(tmp_path / "magic.ipynb", [cell, *other])
    [subject] = find(str(path))
    module = sys.modules[type(subject.build(Config(pinned_sizes(subject)[0]), None)).__module__]
    assert module.remainder(7, 4) == 3
    assert module.f(1) == 1
    assert module.__failures__ == []


def test_an_old_notebook_with_worksheets_is_read(tmp_path: Path) -> None:
    """Format 3 keeps its cells one level down, under another name."""
    cell = {"cell_type": "code", "input": ["from attention import ", "CausalAttention"]}
    path = tmp_path / "old.ipynb"
    path.write_text(json.dumps({"worksheets": [{"cells": [cell]}]}))
    assert find(f"{path}:CausalAttention")[0].family == "causal"


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", '{"cells": 3}', '{"cells": [3]}'])
def test_a_file_that_is_no_notebook_is_refused(tmp_path: Path, text: str) -> None:
    """Whatever is in the file, the message is about the file."""
    path = tmp_path / "no.ipynb"
    path.write_text(text)
    assert "cannot be read as a notebook" in refusal(str(path))


@pytest.mark.parametrize(
    ("target", "part"),
    [
        ("no_such_module_here", "There is no module no_such_module_here"),
        ("attention.moduls:X", "did you mean attention.modules"),
        ("torch.nn.MultiheadAttention", "did you mean torch.nn:MultiheadAttention?"),
        ("attention:MultiHeadAtention", "did you mean MultiHeadAttention"),
        ("attention:", "has no name after the colon"),
        (":Name", "names no module"),
        ("attention:no name", "has no name after the colon"),
        ("attention:functional", "attention:functional is a module"),
        ("attention.functional", "attention.functional defines no attention class"),
        ("properties", "or one of the modules inside: "),
        ("torch.nn:Linear", "torch.nn:Linear is not attention"),
        (f"{DATA}/refused.py:FeedForward", "is not attention"),
        (f"{DATA}/refused.py:EncoderLayer", f"name that: {DATA}/refused.py:CrossAttention;"),
        (
            "torch.nn:TransformerEncoderLayer",
            "name that: torch.nn.modules.activation:MultiheadAttention;",
        ),
        (f"{DATA}/refused.py:an_attention", "is an instance of Three"),
        (f"{DATA}/refused.py:a_number", "is an instance of int"),
        (f"{DATA}/refusd.py", "did you mean refused.py?"),
        (f"{DATA}/nowhere/mine.py", "there is no folder"),
        (f"{DATA}", "is a folder"),
        (f"{DATA.parent.parent}/py.typed", "is neither a Python file nor a notebook"),
        ("some/where:Name", "There is no file some/where"),
        (12, "is an instance of int"),
        (torch.nn.Linear(2, 3), "is an instance of Linear"),
        (None, "is an instance of NoneType"),
    ],
)
def test_a_bad_target_is_refused_in_one_message(target: object, part: str) -> None:
    """What was wrong, what was expected, what to do; near names are suggested."""
    assert part in refusal(target)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("import torch\n1 / 0\n", "ZeroDivisionError: division by zero (broken.py:2)"),
        ("import no_such_thing\n", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("class Attention(\n", "SyntaxError: '(' was never closed (broken.py:1)"),
        ("import sys\nsys.exit(3)\n", "exits when it is imported: SystemExit: 3 (broken.py:2)"),
        ("from .sibling import x\n", "name it as package.module:Name from the folder"),
        ("import json\njson.loads('{')\n", "(broken.py:2)"),
        ("x = 1\n", "defines no attention class. Classes seen: none"),
    ],
)
def test_a_file_that_does_not_import_is_refused_with_its_line(
    tmp_path: Path, text: str, part: str
) -> None:
    """The exception, its text, and the line in the person's own file."""
    path = tmp_path / "broken.py"
    path.write_text(text)
    message = refusal(f"{path}")
    assert part in message
    assert "Traceback" not in message


def test_a_broken_file_is_tried_again(tmp_path: Path) -> None:
    """A half-imported module is not kept."""
    path = tmp_path / "broken.py"
    path.write_text("1 / 0")
    assert refusal(str(path)) == refusal(str(path))


def test_a_forward_that_raises_does_not_keep_a_subject_from_being_found() -> None:
    """That is for the clauses to say."""
    [subject] = find(f"{DATA}/faulty.py:CausalRaises")
    with pytest.raises(SubjectError, match="not today"):
        examples(subject)[0].run()


def test_finding_prints_nothing_and_leaves_no_trace(capsys: pytest.CaptureFixture[str]) -> None:
    """Trials restore the random state and the number of threads."""
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    find("attention")
    assert capsys.readouterr() == ("", "")
    assert torch.equal(state, torch.random.get_rng_state())
    assert threads == torch.get_num_threads()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MultiHeadAttention", True),
        ("SelfAttn", True),
        ("CausalMHA", True),
        ("AttentionBlock", False),
        ("TransformerBlock", False),
        ("GPTModel", False),
        ("LMHead", False),
        ("LayerNorm", False),
    ],
)
def test_a_name_says_attention_but_not_what_contains_it(name: str, expected: bool) -> None:
    """Without code to read, the name decides."""
    assert recognise.is_attention(type(name, (torch.nn.Module,), {})) is expected
