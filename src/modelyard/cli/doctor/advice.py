"""From what was measured to findings and a suggestion; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from modelyard.cli.doctor.trial import Answers, Memory, Start
from modelyard.domain.service.flavors import CUSTOM, FLAVORS
from modelyard.packages.doctor import Finding, Level

_SPARE_MEMORY = 1.3
_BUSY = 0.7
_MIB_OF_GB = 1024
_STEP_MB = 128


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What to deploy it with. ``memory_mb``: what one instance needs, with some to spare."""

    flavor: str
    count: int
    memory_mb: int
    per_second: float


def suggest(memory: Memory, answers: Answers | None, rate: float) -> Suggestion:
    """The smallest flavor that holds it, and instances for ``rate`` predictions a second."""
    needed = memory.workers_mb * _SPARE_MEMORY + memory.front_mb
    needed_mb = math.ceil(needed / _STEP_MB) * _STEP_MB
    fitting = [
        one
        for one in FLAVORS
        if one.category == "CPU" and one.is_open and one.memory_gb * _MIB_OF_GB >= needed_mb
    ]
    flavor = min(fitting, key=lambda one: one.memory_gb).name if fitting else CUSTOM
    usual = answers.median_s if answers is not None and answers.status == 200 else 0.0
    per_second = 1 / usual if usual else 0.0
    count = max(1, math.ceil(rate / (per_second * _BUSY))) if per_second else 1
    return Suggestion(flavor, count, needed_mb, per_second)


def check_start(start: Start) -> list[Finding]:
    """A package that does not come up."""
    if not start.failure:
        return []
    fix = "Its own output stands below; correct what it says and check again."
    return [Finding("start", Level.ERROR, "the model server", start.failure, fix)]


def check_answer(answers: Answers, *, given: bool) -> list[Finding]:
    """A prediction that fails: an error for a request of one's own, else perhaps the sample's."""
    if answers.status == 200:
        return []
    level = Level.ERROR if given else Level.WARNING
    fix = (
        "Correct the script, or the request."
        if given
        else "Give a request that it must answer: --request FILE."
    )
    what = "the request" if given else "a request made of the api's schema"
    says = f"{what} was answered with {answers.status}: {answers.text[:300]}"
    return [Finding("answer", level, "POST /", says, fix)]


def check_result(oddities: list[tuple[str, str, str]]) -> list[Finding]:
    """What the conversion to JSON does to the result."""
    found = []
    for kind, place, what in oddities[:10]:
        if kind == "nan":
            says, fix = f"is {what}, which is sent as null", "Decide what a caller should get."
        elif kind == "key":
            says, fix = f"has keys of type {what}, which are sent as text", "Use text."
        else:
            says = f"is a {what}, which is converted to JSON"
            fix = "Nothing; .item() or .tolist() would make it plain on any platform."
        level = Level.WARNING if kind == "nan" else Level.NOTE
        found.append(Finding(f"result-{kind}", level, place, says, fix))
    return found


def no_sample() -> Finding:
    """Nothing is known that could be asked."""
    says = "describes no request, so none was tried"
    fix = "Describe it in apis[0].request.data, or give --request FILE."
    return Finding("no-sample", Level.NOTE, "model/config.json: apis", says, fix)
