"""Rotary positions in decimals: a pair of columns as one complex number, turned by another.

Nothing is shared with `positions.py` but the dataclass that says what is asked.
"""

from __future__ import annotations

from decimal import Decimal, localcontext

from properties.basics.dtypes import Array
from properties.truth.digits import Vector
from properties.truth.positions import Rotary


def turned(rows: list[Vector], positions: Array, rotary: Rotary) -> list[Vector]:
    """Each row turned at its position."""
    return [turn(row, Decimal(float(at)), rotary) for row, at in zip(rows, positions, strict=True)]


def turn(row: Vector, position: Decimal, rotary: Rotary) -> Vector:
    """One row: pair i by position * base**(-2 i / R), times its share where pairs are slowed."""
    columns = round(len(row) * rotary.portion)
    shares, gain = rotary.slowed(columns // 2).shares, Decimal(float(rotary.gain))
    result = list(row)
    for i in range(columns // 2):
        a, b = (i, i + columns // 2) if rotary.pairing == "halves" else (2 * i, 2 * i + 1)
        power = Decimal(-2 * i) / columns
        share = Decimal(float(shares[i]))
        cosine, sine = circle(position * share * Decimal(rotary.base) ** power)
        cosine, sine = gain * cosine, gain * sine
        result[a] = row[a] * cosine - row[b] * sine
        result[b] = row[b] * cosine + row[a] * sine
    return result


def circle(angle: Decimal) -> tuple[Decimal, Decimal]:
    """Cosine and sine: the series of exp(i a / 2**k), squared k times."""
    with localcontext() as context:
        context.prec += 30  # a squaring doubles the error: a digit for three of them
        halvings = max(0, angle.adjusted() + 2) * 4 if angle else 0
        small = angle / 2**halvings
        cosine, sine, term = Decimal(0), Decimal(0), Decimal(1)
        order = 0
        while abs(term) > Decimal(10) ** -context.prec:
            if order % 2:
                sine += term if order % 4 == 1 else -term
            else:
                cosine += term if order % 4 == 0 else -term
            order += 1
            term = term * small / order
        for _ in range(halvings):
            cosine, sine = cosine * cosine - sine * sine, 2 * cosine * sine
    return +cosine, +sine
