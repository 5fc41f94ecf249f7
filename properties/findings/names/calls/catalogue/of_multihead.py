"""Wrong steps of modules of queries, keys and values, which are handed a mask of pairs and one of keys.

Legend: B batch, H heads, T queries, S keys.
"""

from __future__ import annotations

import numpy as np

from properties.basics.dtypes import Array
from properties.cases.call_gradients import Slopes
from properties.cases.question import Question
from properties.findings.names.calls.catalogue import asks, form
from properties.findings.names.calls.catalogue.contexts import SOURCE, of_contexts
from properties.findings.names.calls.catalogue.of_modules import of_tokens
from properties.findings.names.calls.catalogue.windows import seeing
from properties.findings.names.calls.form import RefusedError
from properties.subjects.call import Seen

HIDING = ("mask", "bias", "padding", "padding_numbers")
EMPTY = "what becomes of a row that sees nothing"


@of_contexts("values from the keys", SOURCE)
def values_from_the_keys(asked: Question) -> Question:
    """The tokens of values are never read."""
    kept = {name: array for name, array in asked.inputs.items() if name != "context_values"}
    return asked.with_inputs(kept)


@asks("a row that sees nothing harms others", EMPTY, *HIDING, of_empty=True)
def an_empty_row_empties_its_item(asked: Question) -> Question:
    """No row of its item and head sees anything."""
    spoilt = np.any(rows_that_see_nothing(asked), axis=-1, keepdims=True)
    return seeing(asked, ~spoilt[..., None])


def rows_that_see_nothing(asked: Question) -> Seen:
    """(B, H, T)."""
    seen: Seen = of_tokens(asked).request.seen(asked.shape)
    return ~np.any(seen, axis=-1, keepdims=True)[..., 0]


def spoilt(asked: Question, upstream: Array, right: Slopes) -> Slopes:
    """NaN in every token of an item in which a row sees nothing."""
    if asked.function:
        raise RefusedError("a call of a function")
    item = np.any(rows_that_see_nothing(asked), axis=(1, 2), keepdims=True)
    found = {name: np.where(item, np.nan, slope) for name, slope in right.right.items()}
    return Slopes(found, right.allowed)


form("NaN gradient of a row that sees nothing", EMPTY, *HIDING, slopes=spoilt)
