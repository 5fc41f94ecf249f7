"""The words of a refusal: what was wrong, what was expected, and the way out."""

from __future__ import annotations

import sys
import textwrap
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

from properties.errors import QuestionError

OURS = str(Path(__file__).resolve().parent.parent)

FACTORY = """
def make(d_in, d_out, context_length, dropout, num_heads, qkv_bias=False):
    return {name}(...)  # d_out is the width of all heads together
"""

ADAPTER = """
class Mine(properties.Subject):
    family = "multihead"  # or plain, self, causal, wrapper
    capabilities = frozenset({{"projections", "out-projection", "out-bias", "batched", "module"}})

    def build(self, config, weights):
        module = {name}(...)  # for config.sizes: d_in, heads, head_dim, width, context_length
        module.to(getattr(torch, config.dtype))
        with torch.no_grad():  # ours are (in, out) in NumPy; nn.Linear keeps (out, in)
            module.QUERY.weight.copy_(torch.from_numpy(weights.query.T))
            ...  # likewise key, value, out, and their biases
        return module  # called with x (B, T, d_in), it returns (B, T, width)
"""

ARRAYS = """
import numpy, torch

def f(query, key, value):  # torch tensors (B, H, T, D)
    context = {name}(*(part.detach().numpy() for part in (query, key, value)))
    return torch.from_numpy(numpy.array(context))
"""

ARRAY = """
import numpy, torch

def f(x):  # a torch tensor
    return torch.from_numpy(numpy.array({name}(x.detach().numpy())))
"""

SHELL = """
class Mine(torch.nn.Module):
    def __init__(self, d_in, d_out, context_length, dropout, num_heads, qkv_bias=False):
        super().__init__()
        self.inner = {name}(...)

    def forward(self, x):  # (B, T, d_in)
        return self.inner({call})
"""


def refusal(wrong: str, expected: str, way_out: str, example: str = "") -> QuestionError:
    """The error to raise: three sentences and, where code says it better, an example."""
    lines = [wrong, f"Expected: {expected}", f"What to do: {way_out}"]
    if example:
        lines.append(textwrap.indent(textwrap.dedent(example).strip("\n"), "    "))
    return QuestionError("\n".join(lines))


def way_out(name: str) -> str:
    """The two ways to make any class a subject, as code."""
    factory, adapter = FACTORY.format(name=name), ADAPTER.format(name=name)
    return f"{factory}\n# or an adapter (import properties, torch):{adapter}"


def described(error: BaseException) -> str:
    """Type and text of an exception, and where in the user's own code it was raised."""
    text = str(error.msg) if isinstance(error, SyntaxError) else str(error)
    text = " ".join(text.split())[:300]
    place = where(error)
    return f"{type(error).__name__}{': ' + text if text else ''}{f' ({place})' if place else ''}"


def where(error: BaseException) -> str:
    """`file:line` of the last frame that is neither this suite's nor a library's, or ''."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}"
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [pair for pair in frames if not is_foreign(pair[0])]
    return place(*own[-1]) if own else ""


def is_foreign(frame: FrameType) -> bool:
    """Whether the frame belongs to this suite, the standard library or an installed package."""
    name = frame.f_code.co_filename
    home = (f"{OURS}/adapters", f"{OURS}/targets", "<frozen", f"{sys.base_prefix}/lib")
    return name.startswith(home) or "site-packages" in name or "dist-packages" in name


def place(frame: FrameType, line: int) -> str:
    """`file:line`, or for the cells of a notebook `file, cell n, line m`."""
    cells: dict[int, int] = frame.f_globals.get("__cells__", {})
    name = Path(frame.f_code.co_filename.strip("<>")).name
    starts = [start for start in cells if start <= line]
    if not starts:
        return f"{name}:{line}"
    return f"{name}, cell {cells[max(starts)]}, line {line - max(starts) + 1}"


def listed(names: Iterable[str], none: str = "none") -> str:
    """The names separated by commas, or a word for none."""
    return ", ".join(names) or none
