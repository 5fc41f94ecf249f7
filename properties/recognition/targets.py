"""From what a person names to subjects: a class, a function, an adapter, or a string for one.

    package.module:Name    path/to/file.py:Name    path/to/notebook.ipynb:Name    process:COMMAND

Without :Name, every attention class that is defined there. COMMAND is run: a program that answers calls.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from properties.basics import interrupts
from properties.basics.doing import doing
from properties.basics.errors import QuestionError, SubjectError
from properties.cases.strategies import make_case, pinned_sizes
from properties.recognition.adapters import (
    differentiability,
    families,
    messages,
    qkv_function,
    recognise,
    subject_for,
    trials,
)
from properties.recognition.adapters.module_subject import ModuleSubject
from properties.recognition.claimed_calls import require_calls
from properties.recognition.files import (
    FILES,
    FORMS,
    import_failed,
    load_file,
    make_importable,
)
from properties.recognition.process import subject as programs
from properties.recognition.process.function import Process
from properties.subjects import choosing, declaring
from properties.subjects.call import lacking
from properties.subjects.source import source_of
from properties.subjects.subject import CAPABILITIES, FAMILIES, Subject


@dataclass
class Survey:
    """What a target holds: the subjects, and why what else is attention there cannot be asked."""

    subjects: list[Subject] = field(default_factory=list)
    refused: dict[str, QuestionError] = field(default_factory=dict)  # by name


Declared = Mapping[str, str] | None  # conventions, by name; see `call.ANSWERS`
Given = Mapping[str, Any] | None  # values by name of an argument or a setting


def find(
    target: Any,
    family: str | None = None,
    conventions: Declared = None,
    given: Given = None,
) -> list[Subject]:
    """The subjects that `target` names, at least one.

    target: a class, a factory or other function, a `Subject` or a class of them, or a string (see
    above); family: a key of `FAMILIES`, where it should not be found out; conventions: those that
    are declared, whatever is found; given: values by name for arguments and settings of constructors
    that have no known meaning.

    Raises QuestionError where there is none, or where one of several cannot be asked.
    """
    subjects = found_in(target, family, conventions, given)
    require_place(given, subjects)
    return subjects


def found_in(target: Any, family: str | None, conventions: Declared, given: Given) -> list[Subject]:
    """See `find`; values that have no place are let pass."""
    found = survey(target, family, conventions=conventions, given=given)
    if not found.refused:
        return found.subjects
    if len(found.refused) == 1 and not found.subjects:
        raise next(iter(found.refused.values()))
    reasons = "\n\n".join(str(error) for error in found.refused.values())
    others = messages.listed((s.name for s in found.subjects), "none")
    raise QuestionError(
        f"{messages.listed(found.refused)} cannot be asked:\n\n{reasons}\n\n"
        f"The others can, by name: {others}"
    )


def find_one(
    target: Any,
    family: str | None = None,
    conventions: Declared = None,
    given: Given = None,
) -> Subject:
    """The subject that `target` names; QuestionError where it names several."""
    subjects = find(target, family, conventions, given)
    if len(subjects) != 1:
        names = ", ".join(subject.name for subject in subjects)
        raise QuestionError(f"{target} holds {len(subjects)} attention classes ({names}); name one")
    return subjects[0]


def survey(
    target: Any,
    family: str | None = None,
    lost: Mapping[str, str] | None = None,
    listen: Callable[[str], None] = lambda name: None,
    conventions: Declared = None,
    given: Given = None,
) -> Survey:
    """Like `find`, but with what cannot be asked beside what can, where a target holds several.

    lost: subjects that are passed over, by name, and why; listen: told the name of each before it is
    tried.

    Raises QuestionError where the target itself cannot be found.
    """
    families.validate(family)
    declaring.require_known(conventions or {})
    with trials.one_thread(), interrupts.watched():
        found = surveyed(target, family, lost or {}, listen, given or {})
        found.subjects = [held_to(subject, conventions or {}) for subject in found.subjects]
    return found


def held_to(subject: Subject, declared: Mapping[str, str]) -> Subject:
    """The subject by the conventions that are declared; those that mean nothing of it are told."""
    if not declared:
        return subject
    idle = {n: roles for n in declared if (roles := idle_for(subject, n))}
    held = subject.held_to({n: a for n, a in declared.items() if n not in idle})
    held.options = (*subject.options, *declaring.options(declared))
    for name, roles in idle.items():
        absent = " or ".join(roles)
        note = f"the declared convention {name} means nothing of it: no call can be told {absent}"
        held.notes = (*held.notes, note)
    return held


def idle_for(subject: Subject, convention: str) -> tuple[str, ...]:
    """The roles that a convention would need to mean something; () where it does."""
    answer = getattr(subject.conventions, convention)
    return () if answer else lacking(convention, subject.takes)


def require_place(given: Given, subjects: Sequence[Subject]) -> None:
    """QuestionError where a value is given to a name that none of the subjects has."""
    told = [subject for subject in subjects if isinstance(subject, ModuleSubject)]
    used = {name for subject in told for name in subject.blueprint.arguments.used}
    idle = [name for name in given or {} if name not in used]
    if not subjects or not idle:
        return
    names = dict.fromkeys(n for subject in told for n in subject.blueprint.arguments.names)
    near = messages.did_you_mean(get_close_matches(idle[0], list(names)))
    raise messages.refusal(
        f"{subjects[0].name} has no {idle[0]}, which is given a value{near}.",
        f"an argument, or a setting that is read: {messages.listed(names)}",
        f"correct or leave out {idle[0]}",
    )


def surveyed(
    target: Any,
    family: str | None,
    lost: Mapping[str, str],
    listen: Callable[[str], None],
    given: Mapping[str, Any],
) -> Survey:
    """See `survey`."""

    def one(target: Any, name: str, chosen: bool = True) -> Survey:
        """The survey of a single object, unless it has been lost before."""
        if name in lost:
            return Survey(refused={name: QuestionError(lost[name])})
        listen(name)
        return understood(target, name, family, chosen, given)

    if not isinstance(target, str) or programs.command_of(target) is not None:
        return one(target, name_of(target))
    source, name = split(target)
    module = load(source)
    if name:
        return told(one(lookup(module, source, name), f"{source}:{name}"), module)
    classes, skipped = attention_classes(module)
    if not classes:
        raise nothing_found(module, source, skipped)
    result = Survey()
    for found in classes:
        each = one(found, f"{source}:{found.__name__}", chosen=False)
        result.subjects += each.subjects
        result.refused |= each.refused
    if skipped and result.subjects:
        first = result.subjects[0]
        shown = skipped if len(skipped) < 12 else [*skipped[:10], f"{len(skipped) - 10} more"]
        first.notes = (*first.notes, f"not attention, not asked: {messages.listed(shown)}")
    return told(result, module)


def told(found: Survey, module: ModuleType) -> Survey:
    """The survey, whose first subject says what of the file or notebook was passed over."""
    failed = vars(module).get("__failures__", [])
    for subject in found.subjects[:1]:
        subject.notes = (*subject.notes, *(f"passed over: {line}" for line in failed))
    return found


def understood(
    target: Any, name: str, family: str | None, chosen: bool, given: Mapping[str, Any]
) -> Survey:
    """The survey of a single object; chosen: it was named, so it may be asked to be attention."""
    try:
        if chosen:
            require_attention(target, name, family)
        subject = as_subject(target, family, given)
        differentiability.settle(subject)
    except QuestionError as error:
        return Survey(refused={name: error})
    if not isinstance(target, Subject):
        subject.name = name
    subject.source = {} if isinstance(target, str | Process) else source_of(target)
    subject.options = () if family is None else ("--family", family)
    subject.options += choosing.options(given)
    return Survey([subject])


def name_of(target: Any) -> str:
    """`module:Name` of an object that was not named by a string."""
    if isinstance(target, str | Process):
        return target if isinstance(target, str) else programs.PREFIX + target.command
    name = getattr(target, "__qualname__", type(target).__qualname__)
    return f"{getattr(target, '__module__', type(target).__module__)}:{name}"


def as_subject(target: Any, family: str | None, given: Mapping[str, Any]) -> Subject:
    """The subject that an object is, or that an adapter makes of it."""
    if isinstance(target, type) and issubclass(target, Subject):
        return checked(instantiate(target), family)
    if isinstance(target, Subject):
        return checked(target, family)
    if isinstance(target, str | Process):
        return programs.subject(target, family)
    return subject_for(target, family, given)


def instantiate(adapter: type[Subject]) -> Subject:
    """An adapter of one's own, constructed; QuestionError if that raises."""
    try:
        with doing(f"while constructing {adapter.__name__}"):
            return adapter()
    except BaseException as error:
        interrupts.subjects_own(error)
        raise messages.refusal(
            f"{adapter.__name__}() raised {messages.described(error)}.",
            "a Subject class that is constructed without arguments and defines build",
            "see properties/subjects/subject.py:",
            messages.adapter("MyAttention"),
        ) from error


def checked(subject: Subject, family: str | None) -> Subject:
    """The subject, of the family asked for; QuestionError if it claims what does not exist."""
    if family is not None:
        subject = copy.copy(subject)
        subject.family = family
    name = subject.name or type(subject).__name__
    own = getattr(subject, "family", None)
    if own not in FAMILIES:
        raise QuestionError(
            f"{name}.family is {own!r}.\nExpected: one of {', '.join(FAMILIES)}.\n"
            f'What to do: write family = "multihead", say, in the class.'
        )
    unknown = set(subject.capabilities) - set(CAPABILITIES)
    if unknown:
        raise QuestionError(
            f"{name}.capabilities holds {messages.listed(sorted(unknown))}.\n"
            f"Expected: some of {', '.join(CAPABILITIES)}.\n"
            "What to do: correct or remove what is not among them."
        )
    unshared = set(subject.dropout_shared) - {"batch", "heads"}
    if unshared:
        raise QuestionError(
            f"{name}.dropout_shared holds {messages.listed(sorted(unshared))}.\n"
            'Expected: "batch", "heads", both or neither.\n'
            "What to do: correct or remove what is not among them."
        )
    subject.name = name
    require_modules(subject)
    require_calls(subject)
    if subject.dropout_shared:
        shared = " and ".join(f"all {name}" for name in subject.dropout_shared)
        note = f"declared by the adapter: one draw of dropout serves {shared}"
        subject.notes = tuple(dict.fromkeys((*subject.notes, note)))
    return subject


def require_modules(subject: Subject) -> None:
    """QuestionError where an adapter builds no module of any sizes, or one that cannot run here."""
    failures = []
    for sizes in pinned_sizes(subject):
        case = make_case(subject, sizes, subject.dtypes[0], "ordinary", False, 0.0, 1, 0)
        try:
            instance = case.build()
        except SubjectError as error:
            failures.append(str(error))
            continue
        x = instance.tensor(case.x if instance.batched else case.x[0])
        trial = trials.run(instance.module, x)
        if not trial.elsewhere:
            return
        failures.append(f"forward {trial.failure}")
    raise messages.refusal(
        f"{subject.name} cannot be asked: {failures[0]}.",
        "an adapter whose build gives a torch.nn.Module that runs here",
        "correct its build, or run it where what it needs is there; one looks so:",
        messages.adapter("MyAttention"),
    )


def require_attention(target: Any, name: str, family: str | None) -> None:
    """QuestionError unless the object can be a subject and nothing says that it is none."""
    if isinstance(target, Subject | Process | str):
        return
    if not (inspect.isclass(target) or callable(target)) or is_instance(target):
        kind = type(target) if isinstance(target, nn.Module) else None
        raise messages.refusal(
            f"{name} is {described(target)}.",
            "a class, a function that makes one (a factory), or a Subject",
            "name the class of it, or a factory function:",
            messages.factory(kind.__name__, kind) if kind else messages.factory("MyAttention"),
        )
    if not inspect.isclass(target) or issubclass(target, Subject) or family is not None:
        return
    if not (recognise.NAME.search(target.__name__) or recognise.is_attention(target)):
        if recognise.weighs(target):
            raise messages.refusal(
                f"{name} calls softmax and may be attention, but neither its name nor those of its "
                "layers say so.",
                "a name with attention or head in it, or layers like W_query, W_key, W_value",
                "say that it is by --family multihead, or encoder where nothing is hidden, or name an "
                "adapter:",
                messages.adapter(target.__name__, target),
            )
        if inner := recognise.attention_inside(target):
            raise messages.refusal(
                f"{name} is something around attention: it makes an object of {inner.__name__}.",
                "a class of attention alone",
                f"name that: {place_of(inner, target, name)}; or, if it is no more than that, say which by "
                "--family",
            )
        raise messages.refusal(
            f"{name} is not attention: neither its name nor those of its layers say so.",
            "a name with attention or head in it, or layers like W_query, W_key, W_value",
            "if it is attention, say which by --family, or name an adapter:",
            messages.adapter(target.__name__, target),
        )


def place_of(inner: type, owner: type, name: str) -> str:
    """A class as a target, from the place of one that uses it and is known by this name."""
    beside = inner.__module__ == owner.__module__ and ":" in name
    return f"{split(name)[0] if beside else inner.__module__}:{inner.__qualname__}"


def is_instance(target: Any) -> bool:
    """Whether it is an object that happens to be callable, such as a module already built, and takes no
    queries, keys and values, as a compiled function does.
    """
    if inspect.isclass(target) or inspect.isroutine(target) or hasattr(target, "func"):
        return False
    return not (callable(target) and qkv_function.serves(target))


def described(target: Any) -> str:
    """What an object is, in a few words."""
    if inspect.ismodule(target):
        return "a module"
    return f"an instance of {type(target).__name__}, not a class or a function"


def split(target: str) -> tuple[str, str]:
    """The source and the name in a string, '' for no name; QuestionError for any other form."""
    source, colon, name = target.rpartition(":")
    if not colon or re.match(r"[\\/]", name):  # C:\file.py
        return target, ""
    if source and re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name):
        return source, name
    raise messages.refusal(
        f"{target!r} has no name after the colon." if source else f"{target!r} names no module.",
        FORMS,
        "write the name of a class or function after the colon, or leave out the colon",
    )


def load(source: str) -> ModuleType:
    """The module, file or notebook; QuestionError if it does not exist or does not import."""
    path = Path(source)
    with doing(f"while importing {source}"):
        if source.endswith(FILES) or path.is_file() or "/" in source or os.sep in source:
            return load_file(path)
        return load_package(source)


def load_package(source: str) -> ModuleType:
    """An importable module; the working directory counts as importable."""
    make_importable(Path.cwd())
    try:
        return importlib.import_module(source)
    except ModuleNotFoundError as error:
        if error.name and (source == error.name or source.startswith(f"{error.name}.")):
            raise no_module(source, error.name) from error
        raise import_failed(source, error) from error
    except BaseException as error:
        interrupts.subjects_own(error)
        raise import_failed(source, error) from error


def no_module(source: str, missing: str) -> QuestionError:
    """The refusal of a module that does not exist, with the names that are near."""
    package, _, name = source.rpartition(".")
    parent = sys.modules.get(package)
    if parent is not None and hasattr(parent, name):
        near = [f"{package}:{name}"]
    else:
        near = get_close_matches(missing, list(siblings(missing)))
    return messages.refusal(
        f"There is no module {missing}{messages.did_you_mean(near)}.",
        FORMS,
        "correct the name, or run in the folder that holds the package: the working directory and "
        "the installed packages were searched",
    )


def siblings(missing: str) -> Iterator[str]:
    """The modules beside one that does not exist."""
    package = missing.rpartition(".")[0]
    parent = sys.modules.get(package)
    path = list(parent.__path__) if parent is not None and hasattr(parent, "__path__") else None
    for found in pkgutil.iter_modules(path):
        yield f"{package}.{found.name}" if package else found.name


def lookup(module: ModuleType, source: str, name: str) -> Any:
    """What is called `name` in the module; QuestionError with near names if nothing is."""
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            raise no_name(module, source, name)
        value = getattr(value, part)
    return value


def no_name(module: ModuleType, source: str, name: str) -> QuestionError:
    """The refusal of a name that the module does not have."""
    public = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
    near = get_close_matches(name, public) or [n for n in public if n.lower() == name.lower()]
    own = [n for n in public if getattr(vars(module)[n], "__module__", "") == module.__name__]
    return messages.refusal(
        f"{source} has no {name}{messages.did_you_mean(near)}.{failures(module)}",
        f"a class or function that it defines: {messages.listed(own or public[:20])}",
        "correct the name, or leave it out to ask every attention class there",
    )


def failures(module: ModuleType) -> str:
    """What failed in a file or notebook, each in a line."""
    noted = vars(module).get("__failures__", [])
    return "".join(f"\n    {line}" for line in noted)


def attention_classes(module: ModuleType) -> tuple[list[type], list[str]]:
    """The attention classes and adapters defined there, and the other modules' names."""
    defined = [value for value in vars(module).values() if defined_in(value, module)]
    unique: list[type] = list(dict.fromkeys(defined))
    found = [c for c in unique if issubclass(c, Subject) or recognise.is_attention(c)]
    callables = [c for c in unique if recognise.can_be_called(c)]
    return found, [c.__name__ for c in callables if c not in found]


def defined_in(value: Any, module: ModuleType) -> bool:
    """Whether it is a class defined in the module or, for a package, inside the package."""
    if not isinstance(value, type) or inspect.isabstract(value):
        return False
    inside = hasattr(module, "__path__") and value.__module__.startswith(f"{module.__name__}.")
    return value.__module__ == module.__name__ or inside


def nothing_found(module: ModuleType, source: str, skipped: list[str]) -> QuestionError:
    """The refusal of a module without an attention class."""
    seen = messages.listed(skipped)
    inner = [found.name for found in pkgutil.iter_modules(getattr(module, "__path__", []))]
    hint = "name the class or a factory function after a colon"
    if inner:
        hint += f", or one of the modules inside: {messages.listed(inner)}"
    if failures(module):
        hint = "mend what failed, or run this where what is missing can be imported"
    return messages.refusal(
        f"{source} defines no attention class. Classes seen: {seen}.{failures(module)}",
        "a torch.nn.Module that is called attention or keeps W_query, W_key, W_value",
        hint,
    )
