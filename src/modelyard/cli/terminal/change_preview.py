"""Show what a change would do, and state the terms on which it is made: ``--dry-run``, ``--plan``,
``--if-match``.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from modelyard.cli.terminal.output import results, say, show_facts, show_json, show_table
from modelyard.client.api_client import Client, Query
from modelyard.client.documents import Body, Document
from modelyard.client.failures import ApiFailure


@dataclass(frozen=True, slots=True)
class Terms:
    """The conditions of a change: the token of its plan, the entity tag of the service."""

    plan: str | None = None
    if_match: str | None = None

    @property
    def query(self) -> Query:
        """The query parameters that state the terms."""
        return {} if self.plan is None else {"plan_token": self.plan}

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that state the terms. Shells remove the quotation marks of a tag."""
        if self.if_match is None:
            return {}
        bare = re.fullmatch(r"[\w.-]+", self.if_match)
        return {"If-Match": f'"{self.if_match}"' if bare else self.if_match}


def show_preview(
    client: Client,
    method: str,
    path: str,
    body: Body | None = None,
    terms: Terms | None = None,
    *,
    json: bool = False,
) -> None:
    """Print what the call would do; ``path`` as for ``Client.project``.

    Raises ``ApiFailure`` if it would be refused, after printing the plan if there is one.
    """
    terms = terms or Terms()
    query = {"dry_run": "true", **terms.query}
    try:
        answer = client.project(method, path, body, query, terms.headers)
    except ApiFailure as failure:
        refused = failure.answer.part("preview")
        if "sentences" in refused:
            _show(refused, json)
        raise
    _show(answer, json)


def _show(plan: Document, json: bool) -> None:
    if json:
        show_json(plan.raw)
        return
    number = plan.text("revision")
    title = f"Plan for service {plan.text('service_name')}"
    _heading(f"{title}: revision {number}" if number else title)
    for sentence in _texts(plan, "sentences"):
        say(f"  {sentence}")
    _tables(plan)
    say("")
    show_facts({"Expected": _expected(plan), "Known by": plan.text("expected_by")})
    token = plan.text("plan_token")
    if token:
        say("\nTo make this change, if its plan is still the same:")
        say(f"  {_command(token)}")


def _tables(plan: Document) -> None:
    if plan.parts("changes"):
        _heading("Changes", blank=True)
        show_table(("FIELD", "BEFORE", "AFTER", "EFFECT"), _changes(plan), "")
    if plan.parts("instances"):
        _heading("Instances", blank=True)
        columns = ("WHEN", "WHAT", "VERSION", "REVISION", "INSTANCES", "WHY")
        show_table(columns, list(_instances(plan)), "")
    if plan.parts("traffic"):
        _heading("Traffic", blank=True)
        show_table(("FROM", "REVISION", "SPLIT", "WHY"), _traffic(plan), "")
    if plan.parts("peak"):
        _heading("Cost", blank=True)
        columns = ("POOL", "NOW", "DURING", "KEPT LOADED", "AFTER", "FREE")
        show_table(columns, _cost(plan), "")


def _heading(title: str, *, blank: bool = False) -> None:
    from rich.text import Text

    if blank:
        say("")
    results().print(Text(title, style="bold"))


def _changes(plan: Document) -> list[Sequence[str]]:
    return [
        (
            change.text("field"),
            change.text("before") or "-",
            change.text("after") or "-",
            change.text("effect"),
        )
        for change in plan.parts("changes")
    ]


def _instances(plan: Document) -> Iterable[Sequence[str]]:
    """Group instances with the same action, time and reason into one row."""

    def alike(act: Document) -> tuple[str, ...]:
        until = f" until {_after(act, 'until_s')}" if "until_s" in act else ""
        return (
            _after(act, "when_s"),
            act.text("action") + until,
            _version(act),
            act.text("revision") or "-",
            act.text("why"),
        )

    for (when, what, version, revision, why), acts in groupby(plan.parts("instances"), alike):
        names = ", ".join(act.text("instance_id")[:8] for act in acts)
        yield when, what, version, revision, names, why


def _traffic(plan: Document) -> list[Sequence[str]]:
    return [
        (
            _after(step, "at_s"),
            step.text("revision") or "-",
            ", ".join(_part(part) for part in step.parts("versions")) or "not started",
            step.text("why"),
        )
        for step in plan.parts("traffic")
    ]


def _part(part: Document) -> str:
    count = part.number("instances")
    shadow = f", shadow of {part.text('shadow')} %" if "shadow" in part else ""
    noun = "instance" if count == 1 else "instances"
    return f"{_version(part)} {part.text('weight')} % on {count} {noun}{shadow}"


def _cost(plan: Document) -> list[Sequence[str]]:
    kinds = ("now", "during", "kept", "after", "free")
    return [
        (use.text("pool"), *(_amount(use.part(kind)) for kind in kinds))
        for use in plan.parts("peak")
    ]


def _amount(amount: Document) -> str:
    """Describe cores, memory and accelerators, as far as they are limited."""
    parts = [
        f"{amount.text('cpu').removesuffix('.0')} cores" if amount.text("cpu") else "",
        f"{amount.number('memory_mb'):,} MB" if amount.text("memory_mb") else "",
        *(
            f"{amount.text(kind).removesuffix('.0')} {kind.upper()}"
            for kind in ("gpu", "npu")
            if amount.text(kind) not in ("", "0", "0.0")
        ),
    ]
    if amount.text("cpu") and not any(amount.raw.values()):
        return "-"
    return ", ".join(part for part in parts if part) or "no limit"


def _expected(plan: Document) -> str:
    seconds = plan.text("expected_seconds")
    return f"{seconds.removesuffix('.0')} s" if seconds else "it does not complete"


def _version(entry: Document) -> str:
    name = entry.text("model_name")
    return f"{name}:{entry.text('model_version')}" if name else entry.text("model_id")


def _after(entry: Document, key: str) -> str:
    seconds = entry.text(key).removesuffix(".0")
    return "now" if seconds == "0" else f"{seconds} s"


def _texts(plan: Document, key: str) -> list[str]:
    value = plan.raw.get(key)
    return [str(item) for item in value] if isinstance(value, list) else []


def _command(token: str) -> str:
    """Return the command that was called, with ``--plan`` in place of ``--dry-run``."""
    asked = [word for word in sys.argv[1:] if word != "--dry-run"]
    while "--plan" in asked:
        at = asked.index("--plan")
        del asked[at : at + 2]
    return shlex.join(["modelyard", *asked, "--plan", token])
