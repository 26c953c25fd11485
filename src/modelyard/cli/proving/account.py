"""What a run came to: the client's counts beside the platform's own, and the verdict; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from modelyard.cli.proving.load import Counts, Failure
from modelyard.client.documents import Document

OVERTAKEN = "later update"
"""In the reason of an update that another one took the place of."""

_SUMS = ("requests", "lost", "errors", "retried", "resets")
_LIVES = ("started", "drained", "killed")


@dataclass(frozen=True, slots=True)
class Reported:
    """The sum of the platform's update reports. ``missing``: updates without one yet.

    ``counted`` False: for some of the time the gateway's count is not available.
    """

    sums: dict[str, int]
    missing: int
    counted: bool

    @property
    def lost(self) -> int:
        return self.sums["lost"]


@dataclass(slots=True)
class RequestedUpdates:
    """What was asked for. ``refused``: the API's words for each update it did not accept."""

    kinds: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    refused: list[str] = field(default_factory=list)
    kills: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Account:
    """``results``: of the accepted updates. ``wrong``: what else is not as it should be."""

    asked: RequestedUpdates
    results: Counter[str]
    counts: Counts
    reported: Reported
    wrong: tuple[str, ...] = ()

    @property
    def lost(self) -> int:
        """Predictions that failed, as the client or the platform saw it, whoever saw more."""
        return max(self.counts.failed, self.reported.lost)

    @property
    def good(self) -> bool:
        return not self.lost and not self.wrong

    @property
    def verdict(self) -> str:
        """In words; ``0 lost`` when all is well."""
        return "; ".join((f"{self.lost:,} lost", *self.wrong))

    def rows(self) -> list[tuple[str, str]]:
        """The table: a name and a value each."""
        asked, counts, sums = self.asked, self.counts, self.reported.sums
        kinds = ", ".join(f"{count} {kind}" for kind, count in asked.kinds.most_common())
        rows = [
            ("updates asked for", f"{asked.kinds.total():,} in {asked.seconds:.0f} s: {kinds}"),
            ("  succeeded", f"{self.results['succeeded']:,}"),
            ("  overtaken by a later one", f"{self.results['overtaken']:,}"),
            ("  rolled back", f"{self.results['rolled back']:,}"),
            ("  refused", f"{len(asked.refused):,}"),
            ("control plane killed", _times(asked.kills)),
            ("predictions sent", f"{counts.sent:,}, {_rate(counts):.0f} a second"),
            ("  failed", f"{counts.failed:,}"),
            ("  of these lost", f"{counts.lost:,}"),
            ("  not sent, all connections busy", f"{counts.skipped:,}"),
            ("  p50, p99, longest", ", ".join(f"{t:.1f}" for t in _latencies(counts)) + " ms"),
            ("  by version", _versions(counts)),
            ("the gateway's own count", f"{sums['requests']:,} predictions during updates"),
            ("  lost, errors", f"{sums['lost']:,}, {sums['errors']:,}"),
            ("  repeated, connections reset", f"{sums['retried']:,}, {sums['resets']:,}"),
            ("instances started, drained, killed", ", ".join(f"{sums[n]:,}" for n in _LIVES)),
            ("routings acknowledged by Envoy", f"{sums['published']:,}"),
        ]
        if self.reported.missing:
            rows.append(("reports not there yet", f"{self.reported.missing:,}"))
        if not self.reported.counted:
            rows.append(("the gateway's count", "not complete: part of its log is gone or off"))
        return rows

    def document(self) -> dict[str, object]:
        """The table for programs."""
        asked, counts = self.asked, self.counts
        p50, p99, longest = _latencies(counts)
        return {
            "verdict": self.verdict,
            "good": self.good,
            "updates": {
                "asked": asked.kinds.total(),
                "accepted": asked.accepted,
                "refused": asked.refused,
                "kinds": dict(asked.kinds),
                **{name.replace(" ", "_"): count for name, count in sorted(self.results.items())},
                "seconds": round(asked.seconds, 1),
            },
            "control_plane_killed": asked.kills,
            "predictions": {
                "sent": counts.sent,
                "ok": counts.ok,
                "failed": counts.failed,
                "lost": counts.lost,
                "skipped": counts.skipped,
                "p50_ms": round(p50, 2),
                "p99_ms": round(p99, 2),
                "longest_ms": round(longest, 2),
                "versions": dict(sorted(counts.versions.items())),
                "failures": [_failure(one) for one in counts.failures],
            },
            "platform": {
                **self.reported.sums,
                "counted": self.reported.counted,
                "reports_missing": self.reported.missing,
            },
        }

    def losses(self) -> list[str]:
        """A line for each failed prediction that is known by more than a number."""
        return [
            f"{one.at} ms: {one.status or 'no answer'} {one.reason}"
            + (f" (request id {one.request_id})" if one.request_id else "")
            for one in self.counts.failures
        ]


def results_of(logs: Iterable[Document]) -> Counter[str]:
    """How updates ended, by their logs: succeeded, overtaken, rolled back or running."""
    return Counter(result_of(log) for log in logs)


def result_of(log: Document) -> str:
    """How one update ended."""
    result = log.text("result")
    if result == "FAIL":
        return "overtaken" if OVERTAKEN in log.text("reason") else "rolled back"
    return {"SUCCESS": "succeeded"}.get(result, "running")


def sum_reports(logs: Sequence[Document]) -> Reported:
    """The reports of all updates as one."""
    reports = [log.part("report") for log in logs if "report" in log]
    sums = {name: sum(report.number(name) for report in reports) for name in _SUMS}
    sums |= {name: sum(r.part("instances").number(name) for r in reports) for name in _LIVES}
    sums["published"] = sum(_length(report.raw.get("published")) for report in reports)
    counted = all(report.raw.get("counted") is not False for report in reports)
    return Reported(sums, len(logs) - len(reports), counted)


def _length(value: object) -> int:
    return len(value) if isinstance(value, list) else 0


def _failure(one: Failure) -> dict[str, object]:
    return {
        "at": one.at,
        "status": one.status,
        "reason": one.reason,
        "request_id": one.request_id,
        "lost": one.lost,
    }


def _latencies(counts: Counts) -> tuple[float, float, float]:
    """Median, 99th percentile and maximum in ms; zeros when nothing was answered."""
    times = sorted(counts.times)
    if not times:
        return 0.0, 0.0, 0.0
    return times[len(times) // 2], times[int(0.99 * (len(times) - 1))], times[-1]


def _rate(counts: Counts) -> float:
    return counts.sent / counts.seconds if counts.seconds else 0.0


def _versions(counts: Counts) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in sorted(counts.versions.items())) or "-"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
