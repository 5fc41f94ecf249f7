"""What becomes of a clause that is not asked, or not on enough examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from properties.basics import advice
from properties.runs.result import Status
from properties.runs.tally import Tally, blocked_message
from properties.runs.waivers import Waiver
from properties.spec.profiles import Profile
from properties.subjects.subject import Subject


def settle(tally: Tally, tallies: Mapping[str, Tally], profile: Profile, *, limited: bool) -> None:
    """What becomes of a clause that stood to the end. limited: whether the subject takes not every size."""
    wanted = min(profile.counted, tally.clause.examples or profile.counted)
    earlier = [tallies[id] for id in tally.clause.awaited if id in tallies]
    waived = [e.clause.id for e in earlier if e.waivers or e.excused]
    if tally.outlived:
        tally.status, tally.case = Status.FAIL, None
        tally.message = remove_message(tally.outlived)
    elif tally.waivers:
        tally.status = Status.WAIVED
    elif tally.counted < wanted <= tally.counted + tally.might_have_counted:
        tally.status = Status.WAIVED
        tally.message = f"needs {waived[0]}, which is waived; too few examples were left"
    elif tally.counted < wanted and (tally.outside or limited):
        tally.status = Status.UNSUPPORTED
        tally.message = "needs examples that the subject cannot take"
        tally.message += f": {tally.declined}" if tally.declined else ""
    elif tally.counted < wanted:
        tally.status = Status.VACUOUS
        tally.message = (
            f"{tally.counted} of {tally.examples} examples had "
            f"{tally.clause.counts.words}; at least {wanted} must"
        )


def block(tally: Tally, tallies: Mapping[str, Tally]) -> None:
    """A clause is not asked once one that it depends on is broken."""
    for earlier in tally.clause.awaited:
        if earlier in tallies and tallies[earlier].broken:
            tally.status, tally.message = Status.BLOCKED, blocked_message(earlier, tallies)


def remove_message(outlived: Iterable[Waiver]) -> str:
    """What to say of waivers that are not needed any more."""
    places = ", ".join(f"{waiver.place} ({waiver.reason})" for waiver in outlived)
    return f"remove this waiver: it holds now; {places}"


def unsupported_message(subject: Subject, missing: Iterable[str]) -> str:
    """Why a clause cannot be asked."""
    named = (subject.lacking.get(m, f"{subject.name} does not offer it") for m in missing)
    reasons = map(advice.reason, named)
    return "; ".join(f"needs {m}: {reason}" for m, reason in zip(missing, reasons, strict=True))
