"""What the doctor says: one finding, one cause, one remedy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum


class Level(StrEnum):
    """``ERROR``: it cannot work here. ``WARNING``: it may not. ``NOTE``: good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """``kind`` is a stable word, ``where`` a file with its line or a field of ``config.json``."""

    kind: str
    level: Level
    where: str
    says: str
    fix: str = ""

    def document(self) -> dict[str, str]:
        """As the API shows it and the database keeps it."""
        return {name: str(value) for name, value in asdict(self).items()}


def in_order(findings: list[Finding]) -> tuple[Finding, ...]:
    """Without repetitions, the worst first."""
    ranks = list(Level)
    unique = dict.fromkeys(findings)
    return tuple(sorted(unique, key=lambda one: (ranks.index(one.level), one.where, one.kind)))
