"""What may stand in for a demand that cannot be met, and how it is told (models.md §9); pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from packaging.utils import canonicalize_name

from modelyard.packages.environments.implied import CARRIED
from modelyard.packages.environments.requirement_set import Policy, Want, is_version

# Names under which nothing can be had any more, and what they stood for.
_NOW_CALLED = {
    "sklearn": "scikit-learn",
    "pil": "pillow",
    "opencv": "opencv-python-headless",
    "tensorflow-cpu": "tensorflow",
    "tensorflow-gpu": "tensorflow",
    "mindspore-gpu": "mindspore",
    "mindspore-ascend": "mindspore",
}
_PUBLIC = frozenset(CARRIED.values())
_NOISE = re.compile(r"^(?:error:|cause:|[×╰─▶├│\s])+", re.MULTILINE)
_NAME_END = re.compile(r"[^\w.-]")
_EXTRAS = re.compile(r"\[[^]]*\]")
_PINNED = re.compile(r"[=<>@]")
_HINT = re.compile(r"^\s*hint:", re.MULTILINE)
_OF_ONE = re.compile(r"Because (.+?) and you require ")
_LONGEST_REASON = 600


_FIXES = {
    "relaxed": "Ask for a version that exists for this Python.",
    "left-out": "Put it into the package as a wheel, or do without it.",
    "contradiction": "Ask for versions that go together.",
}
KINDS = tuple(_FIXES)
"""The kinds of findings that are about environments."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Where an environment differs from what its package asks for.

    ``kind``: ``relaxed`` (``used`` stands in for ``asked``), ``left-out`` (an implied distribution
    that cannot be had) or ``contradiction`` (pins installed against what their authors declare).
    ``reason``: the installer's.
    """

    kind: str
    asked: str
    used: str = ""
    reason: str = ""

    def sentence(self) -> str:
        """One sentence without its full stop."""
        because = f" ({self.reason.rstrip('.')})" if self.reason else ""
        if self.kind == "relaxed":
            return f"{self.asked} cannot be had here{because}; {self.used} is used"
        if self.kind == "left-out":
            return f"{self.asked}, which its script imports, cannot be had here{because}"
        return f"{self.asked} contradict each other{because}; they are installed as asked for"

    def document(self) -> dict[str, str]:
        """As kept with the model: where, what it says, how to mend it, and the parts of that."""
        return {
            "level": "warning",
            "where": "dependencies",
            "says": self.sentence(),
            "fix": _FIXES[self.kind],
            **asdict(self),
        }


def ladder(
    want: Want, policy: Policy, installed: Callable[[str], str | None], wheels: Path
) -> tuple[str, ...]:
    """What to ask the installer for, the best first.

    ``installed``: the version that the platform has of a distribution. ``wheels``: the folder that
    stands for ``model/``. With ``EXACT`` there is one rung; with ``RELAXED`` first what is asked
    for, then the same without a local label (``+cu102``), then what the platform has, then any. For
    a wheel of the package's own something from the index stands in only under a name that is known
    to be public: under a private one anybody may have put something there.
    """
    asked = specification(want, wheels)
    if policy is Policy.EXACT:
        return (asked,)
    rungs = [asked] if want.wheel or not want.sign or is_version(want.sign, want.version) else []
    if want.wheel and want.name not in _PUBLIC and installed(want.name) is None:
        return (asked,)
    plain = replace(want, wheel="")
    for name in dict.fromkeys((want.name, _NOW_CALLED.get(want.name, want.name))):
        if not name:
            continue
        here = replace(plain, name=name)
        there = installed(name)
        versions = [want.version, want.version.partition("+")[0]]
        demands = [
            replace(here, version=v) for v in versions if want.sign and is_version(want.sign, v)
        ]
        if there is not None:
            known = (there, there.partition("+")[0])
            demands += [replace(here, sign="==", version=v) for v in known if want.sign]
        demands.append(replace(here, sign="", version=""))
        rungs += [specification(one, wheels) for one in demands]
    return tuple(dict.fromkeys(rungs))


def specification(want: Want, wheels: Path) -> str:
    """``want`` as installers read it (PEP 508)."""
    if not want.wheel:
        return str(want)
    uri = (wheels / want.wheel).as_uri()
    return f"{want.name} @ {uri}" if want.name else uri


def demanded(specification: str) -> str:
    """The canonical name of what an installer is asked for."""
    return canonicalize_name(_NAME_END.split(specification, maxsplit=1)[0])


def pins(specifications: Sequence[str]) -> tuple[str, ...]:
    """Those that name a version or a file; of several for one name the last, as pip has it."""
    last = {demanded(one): _EXTRAS.sub("", one) for one in specifications if _PINNED.search(one)}
    return tuple(last.values())


def locked_version(name: str, lock: Sequence[str]) -> str:
    """What ``lock`` (lines of ``name==version``) has of ``name``, as ``name version``."""
    wanted = canonicalize_name(name)
    for line in lock:
        found = re.split(r"==| @ ", line, maxsplit=1)
        if canonicalize_name(found[0].strip()) == wanted:
            return " ".join(part.strip() for part in found)
    return name


def told_reason(output: str) -> str:
    """What an installer printed, as one line for a person; "" when it said nothing.

    Without its hints, which name its own options.
    """
    output = _HINT.split(output, maxsplit=1)[0]
    lines = [_NOISE.sub("", line).strip() for line in output.splitlines()]
    told = [line for line in lines if line and not line.startswith("warning:")]
    if len(told) > 1 and told[0].startswith("No solution found"):
        del told[0]
    text = re.sub(r"\s+", " ", " ".join(told))
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 1] + "…"


def brief(reason: str) -> str:
    """Of a reason why one demand cannot be met, what it says of the demand."""
    match = _OF_ONE.match(reason)
    return match[1] if match else reason
