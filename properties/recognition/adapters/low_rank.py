"""Low-rank additions to a projection, as of LoRA: two matrices whose product is added to what another makes
of the tokens. One of the two is zero as built, so that nothing is added. They stay so, and are told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from properties.recognition.adapters import extras, trials
from properties.recognition.adapters.spellings import parameter_role

KIND = r"lora|low_?rank|adapter|delta"
ADDED = re.compile(rf"{KIND}|(^|[._])(w|weights?|mat(rix)?)?_?[ab]($|\.)", re.IGNORECASE)
WORDS = "a low-rank addition to a projection: it stays zero as built, and all else is asked"
LENGTHS = re.compile(r"magnitude|(^|_)m(_|$)", re.IGNORECASE)
ASIDE = re.compile(rf"_?({KIND})_?|(^|_)[ab]($|_)", re.IGNORECASE)

# By role: the weights that are made zero, and whether what is added to this projection still matters.
MATTERS: Mapping[str, tuple[tuple[tuple[str, ...], bool], ...]] = {
    "query": ((("key",), False),),
    "key": ((("query",), False),),
    "value": ((("query", "key"), True), (("out",), False)),
    "out": ((("out",), True),),
}
Build = Callable[
    [tuple[str, ...]], nn.Module
]  # a module in which the weights of these roles are zero
Output = Callable[[nn.Module], Tensor | None]


def is_added(path: str) -> bool:
    """Whether a matrix inside a projection is called like one of such a pair."""
    return bool(ADDED.search(path))


def keeps_lengths(layer: nn.Module) -> bool:
    """Whether a layer has parameters for the lengths of its matrix's rows, as of DoRA, which is then not
    what it multiplies by.
    """
    return any(map(LENGTHS.search, layer._parameters))


def additions(
    names: Iterable[str], roles: Iterable[str], build: Build, output: Output
) -> tuple[str, ...]:
    """The matrices among the parameters of these names that come in such pairs, each of which acts on the
    projection that it is called after. roles: those whose weights can be made zero.
    """
    module = build(())
    matrices = {name: p for name in names if (p := extras.tensor_of(module, name)).ndim == 2}
    found: list[str] = []
    for zero in (name for name, p in matrices.items() if not p.any()):
        for other, p in matrices.items():
            joined = set(p.shape) & set(matrices[zero].shape)
            if other != zero and joined and is_product(zero, other, build(()), output):
                found += [zero, other] if in_place(zero, roles, build, output) else []
    return tuple(dict.fromkeys(found))


def is_product(zero: str, other: str, module: nn.Module, output: Output) -> bool:
    """Whether the first matters with numbers in it, and no longer where the second is zero."""
    if not matters(zero, module, output):
        return False
    with torch.no_grad():
        extras.tensor_of(module, other).zero_()
    return not matters(zero, module, output)


def in_place(name: str, roles: Iterable[str], build: Build, output: Output) -> bool:
    """Whether numbers in a matrix matter where they do for the projection that its name says, and nowhere
    else; so they do where it says none.
    """
    asked = MATTERS.get(role_of(name), ())
    return all(
        matters(name, build(zeros), output) == expected
        for zeros, expected in asked
        if set(zeros) <= set(roles)
    )


def matters(name: str, module: nn.Module, output: Output) -> bool:
    """Whether a module gives something else with numbers in a matrix than with zeros, which stay."""
    found = []
    for size in (1.0, 0.0):
        with torch.no_grad():
            matrix = extras.tensor_of(module, name)
            numbers = torch.randn(matrix.shape, generator=torch.Generator().manual_seed(1))
            matrix.copy_(size * numbers)
        found.append(output(module))
    one, other = found
    return one is not None and other is not None and not trials.same(one, other)


def role_of(path: str) -> str:
    """The projection that a path says: query for `q_proj.lora_A` and for `lora_q.A`; "" for none."""
    said = (parameter_role(ASIDE.sub("", part)) for part in path.split("."))
    role = next(filter(None, said), "")
    return "out" if role == "projection" else role
