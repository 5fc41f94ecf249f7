"""A property that is computed once is computed once for each instance, and keeps its docstring."""

from __future__ import annotations

from dataclasses import dataclass

from properties.basics.once import once


@dataclass(frozen=True, eq=False)
class Doubled:
    number: int
    asked: list[int]

    @once
    def double(self) -> int:
        """Twice the number."""
        self.asked.append(self.number)
        return 2 * self.number


def test_it_is_computed_at_the_first_access_and_then_kept() -> None:
    asked: list[int] = []
    first, second = Doubled(3, asked), Doubled(4, asked)
    assert asked == []
    assert (first.double, second.double, first.double) == (6, 8, 6)
    assert asked == [3, 4]


def test_the_class_has_it_with_its_docstring() -> None:
    assert Doubled.double.__doc__ == "Twice the number."
