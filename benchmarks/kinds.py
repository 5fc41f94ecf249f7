"""What `check` says of public attention, each asked as it lies: `python benchmarks/kinds.py`.

Each line of KINDS whose library is installed is asked by `attention-properties check` at quick, in a
process of its own, as a user would type it: without an adapter, with --with alone where it says which of a
library's ways is meant. What it prints first, its exit code and what it says of calls go into the table of
docs/kinds.md; lines of libraries that are not there keep their rows. `--only WORD` asks the lines that have
the word in their target.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from properties.survey.lines import installed
from properties.survey.page import table

PAGE = Path(__file__).parents[1] / "docs/kinds.md"
BEGIN, END = "<!-- drawn by benchmarks/kinds.py: begin -->", "<!-- end -->"
HEAD = ["kind", "library", "`check`", "exit", "first line", "what it says of calls"]
MODELS = "transformers.models"


@dataclass(frozen=True)
class Kind:
    """One kind. library: the package by which it is installed; words: what is typed after `check`;
    variables: what is set before it.
    """

    name: str
    library: str
    words: str
    variables: str = ""

    @property
    def typed(self) -> str:
        """What is typed after `check`, as a cell has it; variables stand before it."""
        return f"`{' '.join(filter(None, [self.variables, self.words]))}`"


def of_transformers(name: str, folder: str, attention: str, way: str = "") -> Kind:
    """A class of transformers; way: how its config says that it computes, where that is no matter of it."""
    target = f"{MODELS}.{folder}.modeling_{folder}:{attention}"
    told = f""" --with '_attn_implementation_internal="{way}"'""" * bool(way)
    return Kind(f"{name}, {way or 'eager'}", "transformers", target + told)


OF_TRANSFORMERS = (
    ("GPT-2", "gpt2", "GPT2Attention"),
    ("Llama", "llama", "LlamaAttention"),
    ("Mistral", "mistral", "MistralAttention"),
    ("BERT", "bert", "BertSelfAttention"),
    ("T5", "t5", "T5Attention"),
    ("OPT", "opt", "OPTAttention"),
    ("ViT", "vit", "ViTAttention"),
    ("Whisper", "whisper", "WhisperAttention"),
)
READ = {"GPT-2", "BERT", "T5", "OPT", "ViT", "Whisper"}
"""Those that read from their config how they compute: a value says it."""

KINDS = (
    Kind("module of PyTorch", "torch", "torch.nn:MultiheadAttention"),
    Kind("function of PyTorch", "torch", "torch.nn.functional:scaled_dot_product_attention"),
    Kind(
        "function of PyTorch with the matrices",
        "torch",
        "torch.nn.functional:multi_head_attention_forward",
    ),
    *(of_transformers(*named) for named in OF_TRANSFORMERS),
    *(of_transformers(*named, "sdpa") for named in OF_TRANSFORMERS if named[0] in READ),
    Kind("litgpt", "litgpt", "litgpt.model:CausalSelfAttention"),
    Kind("timm's ViT", "timm", "timm.layers.attention:Attention"),
    Kind("labml", "labml-nn", "labml_nn.transformers.mha:MultiHeadAttention"),
    Kind("x-transformers", "x-transformers", "x_transformers.x_transformers:Attention"),
    Kind("x-transformers, its core", "x-transformers", "x_transformers.attend:Attend"),
    Kind("diffusers", "diffusers", "diffusers.models.attention_processor:Attention"),
    Kind("torchtune", "torchtune", "torchtune.modules:MultiHeadAttention"),
    Kind("OpenAI's Whisper", "openai-whisper", "whisper.model:MultiHeadAttention"),
    Kind("vit-pytorch", "vit-pytorch", "vit_pytorch.vit:Attention"),
    Kind("function of JAX", "jax", "jax.nn:dot_product_attention"),
    Kind("flax, nnx", "flax", "flax.nnx:MultiHeadAttention"),
    Kind("flax, linen", "flax", "flax.linen:MultiHeadDotProductAttention"),
    Kind("equinox", "equinox", "equinox.nn:MultiheadAttention"),
    Kind("haiku", "dm-haiku", "haiku:MultiHeadAttention --with w_init_scale=1.0"),
    Kind("layer of Keras", "keras", "keras.layers:MultiHeadAttention", "KERAS_BACKEND=torch"),
    Kind("function of Keras", "keras", "keras.ops:dot_product_attention", "KERAS_BACKEND=torch"),
    Kind("module of MLX", "mlx", "mlx.nn:MultiHeadAttention"),
)


def asked(kind: Kind) -> list[str]:
    """Its row of the table."""
    command = [sys.executable, "-m", "properties", "check", *shlex.split(kind.words)]
    variables = dict(part.split("=", 1) for part in kind.variables.split())
    done = subprocess.run(
        [*command, "--profile", "quick"],
        capture_output=True,
        text=True,
        env={**os.environ, **variables, "COLUMNS": "1000"},
    )
    lines = (done.stdout or done.stderr).splitlines()
    first = lines[0].removeprefix("attention-properties: ").removeprefix(kind.words.split()[0])
    said = [line.strip() for line in lines[1:] if line.startswith("  asked by")]
    return [
        kind.name,
        f"{kind.library} {installed(kind.library)}",
        kind.typed,
        str(done.returncode),
        first.strip(),
        *(said[:1] or [""]),
    ]


def kept(page: str) -> dict[str, list[str]]:
    """The rows of a page, by what is typed."""
    drawn = page.partition(BEGIN)[2].partition(END)[0]
    cells = [line.strip("| ").split(" | ") for line in drawn.splitlines() if line.count(" | ") > 2]
    return {row[2]: row for row in cells}


def rows(page: str, only: str) -> Iterator[list[str]]:
    """The rows of all kinds in their order: those that can be asked anew, and those that the page has."""
    before = kept(page)
    for kind in KINDS:
        if installed(kind.library) and only in kind.words:
            row = asked(kind)
            print(" | ".join(row), flush=True)
            yield row
        elif kind.typed in before:
            yield before[kind.typed]


def main() -> None:
    """Ask, and draw the table anew."""
    parser = argparse.ArgumentParser(description="what check says of public attention")
    parser.add_argument("--only", default="", metavar="WORD", help="targets with this word in them")
    page = PAGE.read_text(encoding="utf-8")
    drawn = table(HEAD, rows(page, parser.parse_args().only))
    before, rest = page.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{drawn}\n\n{END}{rest.split(END, 1)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
