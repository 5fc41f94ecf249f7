"""The vectors in `vectors/`: what the command writes, exact, flagged, and never given another meaning."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import properties
from properties.basics.dtypes import FORMATS
from properties.tests.calls import used
from properties.tests.schemas import fits
from properties.truth.attend import attend_gradients
from properties.vectors.files import VERSION, contents
from properties.vectors.groups import groups
from properties.vectors.groups.long import QUERIES, row
from properties.vectors.long_rows import closed_parts
from properties.vectors.notes import KNOWN_AS, NOT_SHOWN, flag_of
from properties.vectors.right import exact_parts
from properties.vectors.selection import NOTHING
from properties.vectors.slopes import bounds_of_slopes, right_slopes, upstream
from properties.vectors.vector import Vector
from properties.zoo.wide import held_ones

HOME = Path(properties.__file__).parent
FOLDER = HOME.parent / "vectors"
LEDGER = HOME / "tests" / "data" / "vectors.json"
PRIMES = {1, 2, 3, 5, 7, 11, 13}
MEANING = ("result", "q", "k", "v", "past_k", "past_v", "do", "options")


@cache
def committed() -> dict[str, Any]:
    """Each file of vectors as it lies in the folder."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(FOLDER.glob("*.json"))
        if path.name != "schema.json"
    }


def entries(result: str = "valid") -> list[Any]:
    """All of them."""
    every = chain.from_iterable(file["tests"] for file in committed().values())
    return [one for one in every if one["result"] == result]


def numbers(part: Any) -> np.ndarray[Any, Any]:
    """An exact array, read."""
    if "data" in part:
        data = [float(x) for x in part["data"]]
    else:
        data = [float(part["fill"])] * int(np.prod(part["shape"]))
        for place, number in part["at"]:
            data[place] = float(number)
    return np.array(data).reshape(part["shape"]) * part["times"]


def test_the_folder_is_to_the_byte_what_the_command_writes() -> None:
    """`attention-properties vectors vectors` brings it up to date."""
    made = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.is_file()}
    wanted = {name: words.encode() for name, words in contents().items()}
    assert made.keys() == wanted.keys()
    assert [name for name in wanted if made[name] != wanted[name]] == []


def test_the_sums_are_those_of_the_files() -> None:
    for line in (FOLDER / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, name = line.split("  ")
        assert sha256((FOLDER / name).read_bytes()).hexdigest() == digest


def test_all_files_together_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 5e6


def test_a_number_never_stands_for_another_call() -> None:
    """The ledger is written by hand: a new number is added, none is changed."""
    ledger = json.loads(LEDGER.read_text(encoding="utf-8"))
    found: dict[str, str] = {}
    for file in committed().values():
        for one in file["tests"]:
            meaning = [file["conventions"], *(one.get(name) for name in MEANING)]
            words = json.dumps(meaning, sort_keys=True)
            assert str(one["tcId"]) not in found
            found[str(one["tcId"])] = sha256(words.encode()).hexdigest()[:16]
    assert {number: ledger.get(number) for number in found} == found


def test_every_file_follows_the_schema() -> None:
    schema = json.loads((FOLDER / "schema.json").read_text(encoding="utf-8"))
    for name, file in committed().items():
        assert file["version"] == VERSION
        assert fits(file, schema, schema), name


@pytest.mark.parametrize(
    "spoiled",
    [{"version": 1}, {"conventions": {"causal_diagonal": "middle"}}, {"tests": [{"tcId": 1}]}],
)
def test_the_schema_refuses_what_is_spoiled(spoiled: Any) -> None:
    schema = json.loads((FOLDER / "schema.json").read_text(encoding="utf-8"))
    assert not fits(committed()["plain"] | spoiled, schema, schema)


def test_what_goes_in_is_exact_in_every_format() -> None:
    """But for a bias that is there to be rounded."""
    for one in entries():
        for name in ("q", "k", "v", "past_k", "past_v", "do"):
            if name in one:
                array = numbers(one[name])
                assert all((fmt.round(array) == array).all() for fmt in FORMATS.values()), one[
                    "tcId"
                ]


def test_sizes_are_prime_and_small_but_for_heads_that_share_and_long_rows() -> None:
    for name, file in committed().items():
        for one in file["tests"]:
            batch, heads, tokens, width = one["q"]["shape"]
            groups_, keys, columns = (*one["k"]["shape"][1:3], one["v"]["shape"][3])
            keys += one["past_k"]["shape"][2] if "past_k" in one else 0
            own = heads if groups_ == heads else groups_
            sizes = {batch, tokens, columns, own}
            if name == "long-rows":
                sizes = {batch, own, tokens} - {QUERIES}  # what a row shows has a column each
            else:
                sizes.add(keys)
            if "rotary" not in one["options"]:
                sizes.add(width)
            assert sizes <= PRIMES, one["tcId"]


def test_every_flag_has_a_note_and_every_note_a_flag() -> None:
    for file in committed().values():
        flags = {fault["flag"] for one in file["tests"] for fault in one.get("faults", [])}
        assert flags == file["notes"].keys()


def test_every_vector_tells_some_fault_apart() -> None:
    assert [one["tcId"] for one in entries() if not one["faults"]] == []


def test_every_fault_of_the_zoo_that_one_call_can_show_is_flagged() -> None:
    """What cannot is said, with the reason; and nothing is said that can."""
    flags = {fault["flag"] for one in entries() for fault in one["faults"]}
    named = {one.named for one in held_ones().values()}
    missing = {name for name in named if flag_of(KNOWN_AS.get(name, name)) not in flags}
    assert missing == set(NOT_SHOWN)


def test_what_a_fault_gives_is_beyond_the_bound_in_the_formats_that_it_names() -> None:
    """By 8 bounds in some number, or it is no number where one is expected, or the other way round."""
    for one in entries():
        for fault in one["faults"]:
            assert fault["clear_in"]
            for dtype in fault["clear_in"]:
                assert max(beyond(one, fault, dtype)) >= 7.9, (one["tcId"], fault["flag"], dtype)


def beyond(one: Any, fault: Any, dtype: str) -> list[float]:
    """By how many bounds each number of a fault is off."""
    found = []
    for name, part in one["expected"].items():
        limits = part["bounds"][dtype]
        if name not in fault or limits is None:
            continue
        for given, right, bound in zip(fault[name], part["data"], limits, strict=True):
            if given is None or given == right:
                continue
            if isinstance(given, str) or isinstance(right, str):
                found.append(np.inf)
            else:
                found.append(abs(given - right) / max(bound, NOTHING))
    return found


def test_both_oracles_agree_on_every_vector_and_bounds_hold_what_they_differ_by() -> None:
    """Decimals are the truth of the files; float64 NumPy must lie within the bounds of float64."""
    for group in groups():
        for vector in group.vectors[::3]:
            if vector.refused or vector.shape[3] > 64:
                continue
            right, first = vector.right, vector.call.parts
            for name in ("output", "lse", "weights"):
                bound = right.bounds["float64"][name]
                assert used(getattr(right.parts, name), getattr(first, name), bound) <= 1.0


@pytest.mark.parametrize(
    "vector", [v for g in groups() for v in g.vectors if v.upstream], ids=lambda v: v.comment
)
def test_gradients_in_decimals_are_those_of_the_first_oracle(vector: Vector) -> None:
    call = vector.call
    first = attend_gradients(
        call.queries, call.keys, call.values, call.request, call.attended, upstream(vector)
    )
    bounds = bounds_of_slopes(vector, "float64")
    for name, part in right_slopes(vector).items():
        assert used(part, getattr(first, name), bounds[name]) <= 1.0, name


def test_a_long_row_is_counted_as_the_second_oracle_would() -> None:
    """On a row that it can take."""
    call = row(0, "", {3: 2, 9: -1}, others=4).call
    keys, values = call.keys[:, :, :13], call.values[:, :, :13]
    short = replace(
        call,
        keys=keys,
        values=values,
        request=replace(call.request, visible=np.ones((1, 13), bool)),
    )
    counted, asked = closed_parts(short), exact_parts(short)
    assert (counted.output == asked.output).all()
    assert (counted.lse == asked.lse).all()
