"""What clients noticed of an update: the gateway's counts of its span, and a verdict; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.domain.canary.request_counts import Tally, VersionKey

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class InstanceLife:
    """When things happened to one instance, ms since 1970; None: they did not.

    ``drained_at``: when it was asked to finish. ``killed_at``: when it ended otherwise than by
    finishing: it failed, or was ended by force.
    """

    started_at: int
    ready_at: int | None = None
    drained_at: int | None = None
    killed_at: int | None = None


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """An update that ran from ``begun`` to ``closed`` (ms since 1970).

    ``tallies`` are of the predictions that ended in that span. ``counted`` False: the gateway does
    not count, or what it counted is gone in part; the counts that are there are a lower bound.
    ``published``: the routing versions that Envoy acknowledged, in their order.
    """

    begun: int
    closed: int
    tallies: Mapping[VersionKey, Tally]
    counted: bool
    started: int = 0
    ready: int = 0
    drained: int = 0
    killed: int = 0
    published: tuple[str, ...] = ()

    @property
    def total(self) -> Tally:
        """All versions together."""
        return sum(self.tallies.values(), Tally())

    @property
    def verdict(self) -> str:
        """``"0 lost"``, ``"3 lost"``, or that it is not known."""
        lost = self.total.lost
        return f"{lost} lost" if lost or self.counted else "not counted"

    @property
    def sentence(self) -> str:
        """The report in words."""
        seconds = (self.closed - self.begun) / 1000
        return f"{self._predictions(seconds)} {self._instances()}"

    def _predictions(self, seconds: float) -> str:
        total = self.total
        if not self.counted and not total.requests:
            return "The gateway's count of its predictions is not available."
        lost = f"{total.lost} lost" if total.lost else "none lost"
        text = f"{_number(total.requests, 'prediction')} in {seconds:.1f} s, {lost}"
        if own := total.errors - total.lost:
            text += f", {own} answered with an error by the model"
        if total.retried:
            text += f", {total.retried} repeated on another try"
        if total.requests:
            text += f"; the slowest took {total.longest_ms} ms"
        return f"{text}." if self.counted else f"At least {text}; part of the log is gone."

    def _instances(self) -> str:
        return (
            f"{_number(self.started, 'instance')} started, {self.drained} drained, "
            f"{self.killed} killed; {_number(len(self.published), 'routing')} acknowledged."
        )

    def to_json(self) -> JsonObject:
        """As stored with the update's log and shown to clients."""
        return {
            "from": self.begun,
            "until": self.closed,
            "verdict": self.verdict,
            "summary": self.sentence,
            "counted": self.counted,
            **_counts(self.total),
            "versions": [
                {"model_id": key.model_id, "variant": key.variant, **_counts(tally)}
                for key, tally in sorted(self.tallies.items(), key=lambda item: _order(item[0]))
            ],
            "instances": {
                "started": self.started,
                "ready": self.ready,
                "drained": self.drained,
                "killed": self.killed,
            },
            "published": list(self.published),
        }


def update_report(
    begun: int,
    closed: int,
    *,
    tallies: Mapping[VersionKey, Tally],
    counted: bool,
    instances: Iterable[InstanceLife],
    published: Sequence[str],
) -> UpdateReport:
    """The report of an update from all that is known of its span, both ends included."""
    lives = list(instances)

    def within(moments: Iterable[int | None]) -> int:
        return sum(1 for at in moments if at is not None and begun <= at <= closed)

    return UpdateReport(
        begun,
        closed,
        tallies,
        counted,
        started=within(life.started_at for life in lives),
        ready=within(life.ready_at for life in lives),
        drained=within(life.drained_at for life in lives),
        killed=within(life.killed_at for life in lives),
        published=tuple(published),
    )


def _counts(tally: Tally) -> JsonObject:
    return {
        "requests": tally.requests,
        "errors": tally.errors,
        "lost": tally.lost,
        "resets": tally.resets,
        "retried": tally.retried,
        "longest_ms": tally.longest_ms,
    }


def _order(key: VersionKey) -> tuple[str, str]:
    return key.model_id, key.variant


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
