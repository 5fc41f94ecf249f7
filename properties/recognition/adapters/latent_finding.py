"""Which layers make latents and which take them, as in multi-head latent attention: by their names."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from properties.recognition.adapters import calls, trials
from properties.recognition.adapters.blueprint import Blueprint
from properties.recognition.adapters.spellings import latent_of, made_of_latent
from properties.subjects.subject import Config

ROLLED = (
    "it makes a latent of the tokens: these in another order of columns stand in its place, and all else "
    "is asked"
)


def with_rolled_latents(blueprint: Blueprint, module: nn.Module) -> tuple[Blueprint, nn.Module]:
    """The same, or with each latent as wide as the tokens rolled, where forward runs so; told."""
    latents = latents_in(calls.inside(module))
    if not latents:
        return blueprint, module
    told = blueprint.arguments
    asked = {latent[0]: ROLLED for latent in latents}
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
        above = [(p, up) for p, up in layers if letters and made_of(p, letters)]
        widths = {down.in_features, down.out_features, *(up.in_features for _, up in above)}
        if letters and (not above or len(widths) > 1):
            return ()
        if letters:
            found.append((path, *(p for p, _ in above)))
    return tuple(found)


def made_of(path: str, letters: str) -> bool:
    """Whether a layer of this name takes the latent for these of q, k and v."""
    own = made_of_latent(path.rpartition(".")[2])
    return bool(own) and set(own) <= set(letters)
