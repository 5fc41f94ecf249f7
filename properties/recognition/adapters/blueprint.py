"""A constructor and its arguments: new modules for a request, and what refuses to be built."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
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
from properties.recognition.adapters.documents import as_documents
from properties.recognition.adapters.given_masks import GivenMasks, with_masks
from properties.recognition.adapters.given_values import GivenValues, with_values
from properties.recognition.adapters.given_zeros import GivenZeros, with_zeros
from properties.recognition.adapters.held_open import held_open
from properties.recognition.adapters.image import as_image
from properties.recognition.adapters.latents import with_latents
from properties.recognition.adapters.output_first import output_first
from properties.recognition.adapters.projections import TOLD
from properties.recognition.adapters.residual import without_residual
from properties.recognition.adapters.spellings import WINDOW, is_block, meaning
from properties.recognition.adapters.two_inputs import in_order
from properties.recognition.asking.caches import OutputAlone
from properties.recognition.turning.handed import Handed
from properties.subjects.instance import in_eval, seed_generators
from properties.subjects.subject import Config
from properties.truth.parameters import Sizes

# Pairwise different, so that no two axes can be confused.
TRIAL = Sizes(batch=3, tokens=5, d_in=6, heads=2, head_dim=4, context_length=7)


@dataclass(frozen=True)
class Blueprint:
    """A class or factory and how to call it.

    square: d_in has to be the width; biased: the bias argument is always True; several: forward
    returns more than its output, which is passed on alone unless one of these arguments is given; None:
    it returns its output; one_group: all heads read one head of keys and values; handed: what forward
    asks its caller for besides x; axes: those in which a forward of queries, keys and values takes them,
    see `OnItself`; taken_out: the layers in whose place there is an identity; masks: those that
    forward requires, and is given where nothing is to be hidden; zeros: those that it requires and adds;
    values: those of the arguments that it requires and might have a default;
    residual: the arguments for tokens of
    which one is added to the output, where this is taken out; context: the argument that has a default,
    and has to be given a context; uncapped: whether a bound on the scores is a number beyond all of them;
    image: the axes of an image that is one pixel wide, which it is given for tokens; gates: the layers
    that make gates, which are held open; documents: the argument for where these start in packed tokens,
    of which each item of a batch is one; latents: see `with_latents`; inputs: see `in_order`; layers: the
    paths of those for queries, keys, values and the output, by role, where their names do not say that;
    output: the place of the output among what forward returns.
    """

    target: Callable[..., Any]
    arguments: Arguments
    square: bool = False
    biased: bool = False
    several: frozenset[str] | None = None
    one_group: bool = False
    handed: Handed | None = None
    axes: str = "B T E"
    taken_out: tuple[str, ...] = ()
    masks: GivenMasks | None = None
    zeros: GivenZeros | None = None
    values: GivenValues | None = None
    residual: tuple[str, ...] = ()
    image: str = ""
    context: str = ""
    uncapped: bool = False
    gates: tuple[str, ...] = ()
    documents: str = ""
    latents: tuple[tuple[str, ...], ...] = ()
    inputs: tuple[str, ...] = ()
    layers: tuple[tuple[str, str], ...] = ()
    output: int = 0

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
            around, lent = self.arguments.around, self.arguments.surrounding(config, family)
            with doing(f"while constructing {self.owner}"), around.lent(lent):
                module = self.target(**given)
                if isinstance(module, nn.Module):
                    if self.inputs:
                        in_order(module, *self.inputs)
                    take_out(module, self.taken_out)
                    if self.layers:
                        vars(module)[TOLD] = self.layers
                    held_open(module, self.gates)
                    with_latents(module, self.latents)
                    if self.output:
                        output_first(module, self.output)
                    if self.several is not None:
                        alone = OutputAlone(self.several)
                        module.register_forward_hook(alone, with_kwargs=True)
                    around.attach(module, lent)
                    if self.handed is not None:
                        hook = replace(self.handed, head_dim=config.sizes.head_dim)
                        module.register_forward_pre_hook(hook, with_kwargs=True)
                    if self.values is not None:
                        with_values(module, self.values)
                    if self.masks is not None:
                        with_masks(module, self.masks)
                    if self.zeros is not None:
                        with_zeros(module, replace(self.zeros, heads=config.sizes.heads))
                    if self.context:
                        calls.given_itself(module, self.context)
                    if self.image:
                        as_image(module, self.image)
                    if self.residual:
                        without_residual(module, self.residual)
                    if self.documents:
                        as_documents(module, self.documents)
                    heads = config.sizes.heads
                    made = calls.on_x_alone(module, heads, self.axes)
                    return with_sizes(made, config.sizes)
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
            wrong = f"{self.call(config, family)} raised {messages.described(error)}."
            if is_uninitialised(error):
                raise not_initialised(self.owner, wrong) from error
            raise self.refuse(wrong) from error

    def call(self, config: Config, family: str | None) -> str:
        """The call as it would be typed."""
        try:
            given = self.arguments.values(config, family)
        except BaseException as error:
            interrupts.subjects_own(error)
            return f"making the settings of {self.owner}"
        return f"{self.owner}({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def way_out(self) -> str:
        """The ways to make it a subject, as code."""
        return messages.way_out(self.owner, self.target, self.arguments.settings)

    def refuse(self, wrong: str) -> QuestionError:
        """The error for a constructor that cannot be used, or a name that its file lacks."""
        if dropped := dropped_name(self.target, wrong):
            return messages.refusal(
                wrong + dropped,
                "a file of which all is run that the class needs",
                "make that line run here (install what it imports, start where it finds its files), or "
                "write the class, with what it needs, into a file of its own",
            )
        library = messages.library_of(self.target)
        made = f"a module of {library}" if library else "a torch.nn.Module"
        return messages.refusal(
            wrong,
            f"{made}, built from valid sizes alone",
            "correct it, or change what it is handed here, in a factory function or an adapter:",
            self.way_out(),
        )

    @property
    def block(self) -> str:
        """The argument for how many tokens are in a block or a window, of which one is asked about."""
        name = self.arguments.roles.get("context_length", "")
        return name if is_block(name, self.target) or meaning(name) == WINDOW else ""

    @property
    def first_sizes(self) -> Sizes:
        """Sizes for a trial while the family is not known: two heads, where there may be several."""
        return self.sizes(2 if self.arguments.has("num_heads", "head_dim") else 1)

    def sizes(self, heads: int) -> Sizes:
        """Sizes for a trial."""
        sizes = replace(TRIAL, heads=heads, groups=1 if self.one_group and heads > 1 else 0)
        return replace(sizes, d_in=sizes.width) if self.square else sizes


def take_out(module: nn.Module, paths: Iterable[str]) -> None:
    """Put an identity in the place of layers."""
    for path in paths:
        parent, _, name = path.rpartition(".")
        setattr(module.get_submodule(parent), name, nn.Identity())


def with_sizes(module: nn.Module, sizes: Sizes) -> nn.Module:
    """The module, its lazy layers given their sizes by a first call; what that raises goes through."""
    parameters = (p for part in module.modules() for p in part._parameters.values())
    if any(p is not None and is_lazy(p) for p in parameters):
        with torch.no_grad():
            in_eval(module)(torch.zeros(1, 1, sizes.d_in))
        module.train()
    return module


def is_uninitialised(error: BaseException) -> bool:
    """Whether nn.Module complains that its own constructor has not been called."""
    text = r"before Module.__init__|no attribute '_(parameters|modules|buffers)'"
    return isinstance(error, AttributeError) and bool(re.search(text, str(error)))


def not_initialised(owner: str, wrong: str) -> QuestionError:
    """The refusal of a class that does not call super().__init__(), or too late."""
    return messages.refusal(
        f"{wrong} {owner}.__init__ does not call super().__init__() before it assigns layers.",
        "a torch.nn.Module that is initialised as one",
        f"write super().__init__() as the first line of {owner}.__init__",
    )


def dropped_name(target: Callable[..., Any], message: str) -> str:
    """Why a name is missing, where a statement that would bind it failed or is not run."""
    home = getattr(target, "__globals__", None) or getattr(
        getattr(target, "__init__", None), "__globals__", {}
    )
    for name, reason in home.get("__not_run__", {}).items():
        if f"name '{name}' is not defined" in message:
            return f" {name} {reason}."
    return ""
