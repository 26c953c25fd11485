"""Previews: what a change would do, told without doing it, and a token to go ahead by (ours).

Everything is read in one session and nothing is written. The loop's own planner is then run
forward over it (``domain/preview/simulation.py``).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.clock import Clock
from modelyard.control.changes.admission import AdmittedChange
from modelyard.control.changes.batch_input import run_after
from modelyard.control.preview.context import Details, PreviewContext, look, look_closer
from modelyard.control.preview.projection import changes_of
from modelyard.domain.preview.change import PlannedChange
from modelyard.domain.preview.document import explain
from modelyard.domain.preview.plan_token import PlanToken, difference, digest_of, short_id
from modelyard.domain.preview.pool_usage import pool_name, pool_uses
from modelyard.domain.preview.simulation import Assumptions, simulate
from modelyard.domain.preview.start_times import start_time
from modelyard.domain.rollout.state import DesiredStatus, Observed
from modelyard.errors import PreconditionFailed, Problem, refuse
from modelyard.settings import Settings

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Previews:
    """Satisfies ``wishes.Previewer``."""

    settings: Settings
    clock: Clock

    async def preview(self, session: AsyncSession, judged: AdmittedChange) -> JsonObject:
        """The preview document of a change, with its plan token; writes nothing.

        Raises ``InvalidRequest`` as the change would when a quota or a pool is too small; the
        answer then has the document, without a token, as its member ``preview``.
        """
        seen = await look(session, self.settings, judged, self.clock.now_ms())
        details = await look_closer(session, self.settings, seen)
        document: JsonObject = {
            "service_id": judged.service.id,
            "service_name": judged.service.name,
            "dry_run": True,
            **await asyncio.to_thread(lambda: explain(foresee(seen, details))),
        }
        if details.problems:
            refusal = refuse(details.problems)
            refusal.members = {"preview": document}
            raise refusal
        return document | {"plan_token": _token(seen).encode()}

    async def check(self, session: AsyncSession, judged: AdmittedChange, token: str) -> None:
        """Raises ``PreconditionFailed`` with the difference when reality is not as planned, and
        ``InvalidRequest`` for what is no token.
        """
        planned = PlanToken.decode(token)
        seen = await look(session, self.settings, judged, self.clock.now_ms())
        found = difference(planned, _token(seen))
        if not found:
            return
        remedy = "Ask for a new plan with ?dry_run=true."
        raise PreconditionFailed(
            f"plan_token: things are not as planned any more: {'; '.join(found)}. {remedy}",
            field="plan_token",
            problems=[
                Problem("plan_token", reason, remedy, PreconditionFailed.code, 412)
                for reason in found
            ],
        )


def foresee(seen: PreviewContext, details: Details) -> PlannedChange:
    """What the change would lead to; pure, and slow where hundreds of instances are replaced."""
    judged, state, service = seen.judged, seen.state, seen.judged.service
    observed = Observed(state.instances, state.failures)
    guard = judged.new.rollout.guard if judged.new else state.guard
    since = service.rollout_since
    assumed = Assumptions(
        start_ms={model: time.ms for model, time in details.times.items()},
        other_start_ms=start_time((), ()).ms,
        guard=guard,
        held_ms=seen.now - since if since is not None and judged.new is None else 0,
    )
    trace = simulate(seen.after, observed, assumed, seen.now)
    return PlannedChange(
        before=seen.before,
        after=seen.after,
        observed=observed,
        now=seen.now,
        trace=trace,
        status=service.status,
        asked=judged.wish.status or "",
        present=service.desired_revision,
        revision=seen.revision,
        stored=judged.new is not None and seen.after.wanted is not DesiredStatus.RUNNING,
        origin=judged.new.origin if judged.new else None,
        under_way=details.under_way,
        guard=guard,
        changes=changes_of(judged, seen.now),
        uses=pool_uses(trace, state.instances, details.made, seen.peaks),
        problems=details.problems,
        started_for={row.id: row.revision for row in state.rows.values()},
        names=details.names,
        times=details.times,
        run=run_after(judged, state),
    )


def _token(seen: PreviewContext) -> PlanToken:
    asked, service = seen.judged.asked, seen.state.service
    numbers = {
        "generation": service.generation,
        "serving": service.serving_revision,
        "live": service.live_revision,
        "kept": service.kept_revision,
        "step": service.rollout_step,
    }
    return PlanToken(
        asked=digest_of(asked.form.value, asked.body),
        status=service.status,
        numbers=numbers,
        instances={short_id(i.instance_id): i.stage.value for i in seen.state.instances},
        models=seen.statuses,
        room={pool_name(peak.pool): peak.fits for peak in seen.peaks},
    )
