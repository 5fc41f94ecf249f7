"""A constructor and its arguments: new modules for a request, and what refuses to be built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from properties.basics import interrupts
from properties.basics.doing import doing
from properties.basics.errors import QuestionError, SubjectError
from properties.recognition.adapters import calls, messages
from properties.recognition.adapters.arguments import Arguments
from properties.subjects.instance import seed_generators
from properties.subjects.subject import Config
from properties.truth.parameters import Sizes

# Pairwise different, so that no two axes can be confused.
TRIAL = Sizes(batch=3, tokens=5, d_in=6, heads=2, head_dim=4, context_length=7)


@dataclass(frozen=True)
class Blueprint:
    """A class or factory and how to call it.

    square: d_in has to be the width; biased: the bias argument is always True.
    """

    target: Callable[..., Any]
    arguments: Arguments
    square: bool = False
    biased: bool = False

    @property
    def owner(self) -> str:
        """The name of the class or factory."""
        return self.arguments.owner

    def construct(self, config: Config, family: str | None) -> nn.Module:
        """A new module for `config`, its parameters drawn from the config's seed.

        torch's random state is left as it was. What the constructor raises goes through.
        """
        config = replace(config, bias=config.bias or self.biased)
        with torch.random.fork_rng(devices=[]):
            seed_generators(config.seed)
            given = self.arguments.values(config, family)
            with doing(f"while constructing {self.owner}"):
                module = self.target(**given)
                if isinstance(module, nn.Module):
                    return with_sizes(calls.with_own_context(module), config.sizes)
        raise SubjectError(
            f"{self.owner} returned {type(module).__name__}, expected a torch.nn.Module"
        )

    def attempt(self, config: Config, family: str | None) -> nn.Module:
        """Like `construct`, but what is raised becomes a QuestionError that says what was asked."""
        try:
            return self.construct(config, family)
        except SubjectError as error:
            raise self.refuse(f"{error}.") from error
        except BaseException as error:
            interrupts.subjects_own(error)
            call = self.call(config, family)
            raise self.refuse(f"{call} raised {messages.described(error)}.") from error

    def call(self, config: Config, family: str | None) -> str:
        """The call as it would be typed."""
        given = self.arguments.values(config, family)
        return f"{self.owner}({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def way_out(self) -> str:
        """The ways to make it a subject, as code."""
        return messages.way_out(self.owner, self.target, self.arguments.settings)

    def refuse(self, wrong: str) -> QuestionError:
        """The error for a constructor that cannot be used."""
        return messages.refusal(
            wrong + dropped_name(self.target, wrong),
            "a torch.nn.Module, built from valid sizes alone",
            "name a factory function that builds it, or an adapter:",
            self.way_out(),
        )

    def sizes(self, heads: int) -> Sizes:
        """Sizes for a trial."""
        sizes = replace(TRIAL, heads=heads)
        return replace(sizes, d_in=sizes.width) if self.square else sizes


def with_sizes(module: nn.Module, sizes: Sizes) -> nn.Module:
    """The module, its lazy layers given their sizes by a first call; what that raises goes through."""
    if any(is_lazy(parameter) for parameter in module.parameters()):
        with torch.no_grad():
            module.eval()(torch.zeros(1, 1, sizes.d_in))
        module.train()
    return module


def dropped_name(target: Callable[..., Any], message: str) -> str:
    """Where a missing name was assigned, if that was in a cell of a notebook which is not run."""
    home = getattr(target, "__globals__", None) or getattr(
        getattr(target, "__init__", None), "__globals__", {}
    )
    for name, cell in home.get("__not_run__", {}).items():
        if f"name '{name}' is not defined" in message:
            return (
                f" {name} is assigned in cell {cell}, but only the imports, classes and "
                "functions of a notebook are run."
            )
    return ""
