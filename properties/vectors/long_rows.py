"""What is right for a long row: equal scores are counted, so a few exponentials do.

o = sum_z e**(z - m) (sum of the values of score z) / sum_z n_z e**(z - m)
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal, localcontext

import numpy as np

from properties.truth.digits import PRECISE, decimals, dot, rounded
from properties.vectors.call import Call, Parts

SHORT = 64  # keys, up to which the second oracle is asked itself


def closed_parts(call: Call) -> Parts:
    """Of one query of one head of one item, with no cap, sink or bias."""
    keys = np.flatnonzero(call.request.seen(call.shape)[0, 0, 0]).tolist()
    with localcontext(PRECISE):
        scale = Decimal(call.request.factor(call.queries.shape[-1]))
        query = decimals(call.queries[0, 0, 0])
        places: dict[Decimal, list[int]] = defaultdict(list)
        for key in keys:
            places[scale * dot(query, decimals(call.keys[0, 0, key]))].append(key)
        top = max(places)
        shares = {score: (score - top).exp() for score in places}
        total = sum((len(at) * shares[score] for score, at in places.items()), Decimal(0))
        output = [Decimal(0)] * call.values.shape[-1]
        for score, at in places.items():
            of_score = decimals(call.values[0, 0, at].sum(axis=0))
            output = [o + shares[score] * v / total for o, v in zip(output, of_score, strict=True)]
        weights = [Decimal(0)] * call.shape[3]
        for score, at in places.items():
            for key in at:
                weights[key] = shares[score] / total
        lse = rounded([[[top + total.ln()]]])
        return Parts(rounded([[[output]]]), lse, rounded([[[weights]]]), np.isneginf(lse))
