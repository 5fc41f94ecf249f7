"""What was put out of action is put back, one at a time, and asked about by itself where a trial shows
that it acts: a bound on the scores, a window, the slopes of ALiBi, sinks, norms of queries and keys.

What a trial does not show to act stays as it is, and is told as not asked about: some masks and kernels
that heed it are somebody else's.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from properties.basics.dtypes import Array
from properties.recognition.adapters import distances, extras, trials
from properties.recognition.adapters.blueprint import Blueprint
from properties.recognition.adapters.draft import random_weights, trial_config
from properties.recognition.adapters.spellings import CAP, WINDOW
from properties.recognition.adapters.unbounded import is_off
from properties.recognition.turning import looks
from properties.subjects.instance import to_array
from properties.subjects.restored import Restored
from properties.subjects.subject import CAUSAL_FAMILIES, Config
from properties.truth import visibility

if TYPE_CHECKING:
    from properties.recognition.adapters.module_subject import ModuleSubject

BOUND = re.compile(r"soft_?cap|logits?_?cap")
ALIBI = re.compile(r"alibi|get_slopes", re.IGNORECASE)
KEPT = "keeps its default"
SINK = re.compile(r"sinks?")
OF_PAIRS = re.compile(
    r"(q|k|qk|query|key|queries|keys)_?(layer|rms|l2)?_?(norm|ln)|(norm|ln)_?(q|k|qk|query|key)"
)
TRIED = Restored(cap=0.5, window=3, slopes=True, sink=1.0)


def offer(finished: ModuleSubject, module: nn.Module) -> None:
    """Claim each of them that acts; what is asked about is no longer told as not asked."""
    if not finished.has("projections"):
        return
    found = [cap_of(finished), window_of(finished), sink_of(finished, module)]
    for name in filter(None, [*found, *slopes_of(finished, module)]):
        note_apart(finished, name)
    offer_norms(finished)


def note_apart(finished: ModuleSubject, name: str) -> None:
    """Say that it is asked about by itself, and how all else is: without it, or with a default that bounds
    all of it, which is told as before.
    """
    text = finished.unasked[name]
    if KEPT in text and not is_off(finished.blueprint.target, name):
        return
    finished.unasked = {n: t for n, t in finished.unasked.items() if n != name}
    finished.notes += (f"{name} is asked about by itself; elsewhere {text.rpartition(': ')[2]}",)


def offer_norms(finished: ModuleSubject) -> None:
    """Claim norms of queries and keys of which one at least takes part, and whose gains are all alike:
    others may be switched off, or give each column a length of its own.
    """
    paths = finished.blueprint.taken_out
    if not paths or not all(OF_PAIRS.fullmatch(path.rpartition(".")[2].lower()) for path in paths):
        return
    other, sizes = finished.with_norms(), trial_config(finished.blueprint, finished.family).sizes
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in).double().numpy()
    try:
        module = other.build(Config(sizes, dtype="float32"), random_weights(sizes))
        found = other.norms(module, x, "float32")
    except Exception:  # whatever it is: then nothing is known
        return
    gains = [p for path in paths for p in module.get_submodule(path).parameters()]
    if any(found.values()) and all(bool((p == p.flatten()[0]).all()) for p in gains):
        finished.capabilities |= {"own norms"}
        text = "a norm: that it gives one length is asked, and all else without it"
        finished.unasked = {**finished.unasked, **dict.fromkeys(paths, text)}


def named(finished: ModuleSubject, kind: str) -> list[str]:
    """The constructor's arguments of this kind that are told as not asked about."""
    return [name for name, text in finished.unasked.items() if text.startswith(kind)]


def cap_of(finished: ModuleSubject) -> str:
    """The argument for a bound on the scores that acts, "" for none."""
    names = named(finished, CAP)
    if len(names) != 1 or not BOUND.search(names[0].rpartition(".")[2].lower()):
        return ""
    finished.switches = {**finished.switches, "cap": names[0]}
    if not acts(finished, Restored(cap=TRIED.cap)):
        return ""
    finished.capabilities |= {"own cap"}
    return names[0]


def window_of(finished: ModuleSubject) -> str:
    """The argument for a window into the past that counts others or oneself, "" for none."""
    names = named(finished, WINDOW)
    if len(names) != 1 or finished.family not in CAUSAL_FAMILIES:
        return ""
    finished.switches = {**finished.switches, "window": names[0]}
    for others in (3, 2):  # a window of 3 is three others, or oneself and two
        finished.window_counts_oneself = others == 2
        other = finished.restoring(Restored(window=others))
        seen = distances.shown(other.build, finished.dtypes[0])
        if seen is None:
            return ""
        tokens = len(seen[0])
        past = visibility.causal(tokens, tokens)
        right = past & visibility.window(tokens, tokens, others, -1)
        if bool(((seen > 0.0) == right).all()):
            finished.capabilities |= {"own window"}
            finished.notes += (f"{names[0]} of 3 shows a token itself and the {others} before it",)
            return names[0]
    return ""


def sink_of(finished: ModuleSubject, module: nn.Module) -> str:
    """The tensor of sinks, one for each head, that acts; "" for none."""
    names = [name for name in finished.extras if SINK.fullmatch(name.rpartition(".")[2].lower())]
    if len(names) != 1:
        return ""
    heads = trial_config(finished.blueprint, finished.family).sizes.heads
    if extras.tensor_of(module, names[0]).numel() != heads:
        return ""
    finished.switches = {**finished.switches, "sink": names[0]}
    if not acts(finished, Restored(sink=TRIED.sink)):
        return ""
    finished.capabilities |= {"own sink"}
    return names[0]


def slopes_of(finished: ModuleSubject, module: nn.Module) -> list[str]:
    """The tensors of ALiBi's slopes, which are not trained; none where they are not those published and
    nobody calls them ALiBi's.
    """
    names = list(finished.slopes)
    trained = {name for name, _ in module.named_parameters()}
    if not names or trained & set(names) or finished.family not in CAUSAL_FAMILIES:
        return []
    finished.switches = {**finished.switches, "slopes": names[0]}
    other = finished.restoring(Restored(slopes=True))
    if not runs(other):
        return []
    found = distances.slopes(other.build, finished.dtypes[0])
    published = found is not None and np.allclose(found, visibility.slopes(len(found)), rtol=1e-3)
    called = any(ALIBI.search(kind.__name__) for kind in looks.own_kinds(module))
    if not (published or called or looks.says(ALIBI, module)):
        return []
    finished.capabilities |= {"own slopes"}
    return names


def acts(finished: ModuleSubject, what: Restored) -> bool:
    """Whether a module gives other numbers with it than without."""
    one, other = output(finished), output(finished.restoring(what))
    return one is not None and other is not None and not trials.same(one, other)


def runs(finished: ModuleSubject) -> bool:
    """Whether a module gives anything."""
    return output(finished) is not None


def output(finished: ModuleSubject) -> torch.Tensor | None:
    """What a module of ordinary weights gives for ordinary tokens."""
    sizes = trial_config(finished.blueprint, finished.family).sizes
    try:
        module = finished.build(Config(sizes, dtype="float32"), random_weights(sizes))
    except Exception:  # whatever it is: then nothing is known
        return None
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    return trials.run(module, x).tensor


def restored(finished: ModuleSubject, what: Restored) -> ModuleSubject:
    """The same with it at work."""
    values: dict[str, object] = {}
    if what.cap is not None:
        values[finished.switches["cap"]] = what.cap
    if what.window is not None:
        values[finished.switches["window"]] = what.window + finished.window_counts_oneself
    fills: Mapping[str, float | str | None] = finished.extras
    if what.slopes:
        fills = {n: f for n, f in fills.items() if n not in finished.slopes}
    if what.sink is not None:
        fills = {**fills, finished.switches["sink"]: what.sink}
    told = finished.blueprint.arguments.fixing(values)
    other = rebuilt(finished, replace(finished.blueprint, arguments=told))
    other.extras, other.restored = fills, what
    return other


def rebuilt(finished: ModuleSubject, blueprint: Blueprint) -> ModuleSubject:
    """The same, its modules built by another blueprint."""
    other = copy.copy(finished)
    other.blueprint = blueprint
    other.built = lru_cache(maxsize=4)(other.blank)
    return other


def noting(kept: list[Array]) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
    """A hook after forward that keeps what went in and what came out."""

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        kept.extend(to_array(part) for part in (inputs[0], output))

    return note
