"""What is right for a long row: equal scores are counted, so a few exponentials do.

o = sum_z e**(z - m) (sum of the values of score z) / sum_z n_z e**(z - m)
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal, localcontext

import numpy as np

from properties.basics.dtypes import Array
from properties.truth.attend import repeated
from properties.truth.digits import PRECISE, decimals, dot, rounded
from properties.vectors.call import Call, Parts

SHORT = 64  # keys, up to which the second oracle is asked itself


def closed_parts(call: Call) -> Parts:
    """With no cap, sink or bias, where each query sees a key."""
    seen = call.request.seen(call.shape)
    keys, values = (repeated(part, call.shape[1]) for part in (call.keys, call.values))
    output = np.zeros((*call.shape[:3], values.shape[-1]))
    weights, lse = np.zeros(call.shape), np.zeros(call.shape[:3])
    with localcontext(PRECISE):
        scale = Decimal(call.request.factor(call.queries.shape[-1]))
        for item, head, query in np.ndindex(*call.shape[:3]):
            row = Row(call.queries[item, head, query], keys[item, head], values[item, head], scale)
            found = row.attended(np.flatnonzero(seen[item, head, query]).tolist())
            at = item, head, query
            output[at], lse[at], weights[at] = map(rounded, found)
    return Parts(output, lse, weights, np.isneginf(lse))


@dataclass(frozen=True, eq=False)
class Row:
    """A query (D,), all keys (S, D) and values (S, E), and the scale."""

    query: Array
    keys: Array
    values: Array
    scale: Decimal

    def attended(self, seen: list[int]) -> tuple[list[Decimal], Decimal, list[Decimal]]:
        """The output, the LSE and the weights, where these keys are seen."""
        query = decimals(self.query)
        places: dict[Decimal, list[int]] = defaultdict(list)
        for key in seen:
            places[self.scale * dot(query, decimals(self.keys[key]))].append(key)
        top = max(places)
        shares = {score: (score - top).exp() for score in places}
        total = sum((len(at) * shares[score] for score, at in places.items()), Decimal(0))
        output = [Decimal(0)] * self.values.shape[-1]
        weights = [Decimal(0)] * len(self.keys)
        for score, at in places.items():
            of_score = decimals(self.values[at].sum(axis=0))
            output = [o + shares[score] * v / total for o, v in zip(output, of_score, strict=True)]
            for key in at:
                weights[key] = shares[score] / total
        return output, top + total.ln(), weights
