"""A module that raises for strides is told so, and not that it takes one number of tokens."""

from __future__ import annotations

from torch import Tensor

from properties import check
from properties.tests.test_needed import Heads


class Views(Heads):
    """Its tokens are seen as rows, which a slice has not in order."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(-1, x.shape[-1]).view(x.shape)
        return self.attend([x, x, x], lambda scores: scores)


class ViewsOfOneLength(Views):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != vars(self).setdefault("tokens", x.shape[1]):
            raise ValueError(f"{x.shape[1]} tokens; expected {self.tokens}")
        return super().forward(x)


def failed(kind: type[Heads]) -> set[str]:
    report = check(kind, profile="quick", only=["shape"], database=False)
    return {r.clause for r in report.results if r.status == "fail"}


def test_what_raises_for_a_view_takes_any_length() -> None:
    assert failed(Views) == {"shape/strides-do-not-matter"}


def test_what_takes_one_length_is_told_so() -> None:
    assert "shape/any-length-up-to-context" in failed(ViewsOfOneLength)
