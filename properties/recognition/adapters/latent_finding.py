"""Which layers make latents and which take them: by their names, as in multi-head latent attention, or as
the first and the second of the two layers that a projection is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torch import nn

from properties.recognition.adapters import calls, trials
from properties.recognition.adapters.blueprint import Blueprint
from properties.recognition.adapters.norms import OF_TORCH
from properties.recognition.adapters.projections import roles_of
from properties.recognition.adapters.rotary_keys import require_none, takes_latent
from properties.recognition.adapters.spellings import latent_of
from properties.subjects.subject import Config

ROLLED = (
    "it makes a latent of the tokens: these in another order of columns stand in its place, and all else "
    "is asked"
)
FIRST = "the first of two layers: the columns in another order stand in its place, and all else is asked"
PASSING = (nn.Dropout, nn.Identity, *OF_TORCH)  # layers that leave columns alone, or are taken out


def with_rolled_latents(blueprint: Blueprint, module: nn.Module) -> tuple[Blueprint, nn.Module]:
    """The same, or with each latent as wide as the tokens rolled, where forward runs so; told.
    QuestionError where keys have a rotary part of their own.
    """
    inner = calls.inside(module)
    require_none(blueprint.owner, inner)
    pairs = tuple(pairs_in(inner))
    latents = (*latents_in(inner), *pairs)
    if not latents:
        return blueprint, module
    told = blueprint.arguments
    asked = {latent[0]: FIRST if latent in pairs else ROLLED for latent in latents}
    told = replace(told, unasked={**told.unasked, **asked})
    rolled = replace(blueprint, arguments=told, latents=latents)
    sizes = blueprint.first_sizes
    made = rolled.attempt(Config(sizes), None)
    x = trials.random_input(sizes.batch, sizes.tokens, sizes.d_in)
    if trials.run(made, x).failure and not trials.run(module, x).failure:
        return blueprint, module
    return rolled, made


def latents_in(module: nn.Module) -> tuple[tuple[str, ...], ...]:
    """The path of each linear layer that makes a latent of the tokens, as wide as these, and the paths of
    those that take it; none where one of them is of another width, or nothing takes it.
    """
    layers = [(path, part) for path, part in module.named_modules() if isinstance(part, nn.Linear)]
    found = []
    for path, down in layers:
        letters = latent_of(path.rpartition(".")[2])
        above = [(p, up) for p, up in layers if letters and takes_latent(p, letters)]
        widths = {down.in_features, down.out_features, *(up.in_features for _, up in above)}
        if letters and (not above or len(widths) > 1):
            return ()
        if letters:
            found.append((path, *(p for p, _ in above)))
    return tuple(found)


def pairs_in(module: nn.Module) -> Iterator[tuple[str, str]]:
    """The paths of the two linear layers of each projection that is these, one after the other, where the
    first leaves the width as it is.
    """
    for path, part in module.named_modules():
        if not isinstance(part, nn.Sequential) or not roles_of(path.rpartition(".")[2]):
            continue
        layers = [(n, p) for n, p in part.named_children() if not isinstance(p, PASSING)]
        if len(layers) != 2 or not all(isinstance(layer, nn.Linear) for _, layer in layers):
            continue
        (first, down), (second, _) = layers
        if down.in_features == down.out_features:
            yield f"{path}.{first}", f"{path}.{second}"
