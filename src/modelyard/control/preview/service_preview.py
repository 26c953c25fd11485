"""Previews: what a change would do, shown without doing it, and a plan token (an extension).

Everything is read in one session and nothing is written. The reconciler's own planner is then
run forward over it (``domain/preview/simulation.py``).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from modelyard.clock import Clock
from modelyard.control.changes.admission import AdmittedChange
from modelyard.control.changes.batch_input import run_after
from modelyard.control.preview.context import Details, PreviewContext, read_context, read_details
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
from modelyard.store.database import Session

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Previews:
    """Satisfies ``service_changes.Previewer``."""

    settings: Settings
    clock: Clock

    async def preview(self, session: Session, admitted: AdmittedChange) -> JsonObject:
        """Return the preview document of a change, with its plan token; writes nothing.

        Raises ``InvalidRequest`` as the change would when a quota or a pool is too small; the
        answer then has the document, without a token, as its member ``preview``.
        """
        context = await read_context(session, self.settings, admitted, self.clock.now_ms())
        details = await read_details(session, self.settings, context)
        document: JsonObject = {
            "service_id": admitted.service.id,
            "service_name": admitted.service.name,
            "dry_run": True,
            **await asyncio.to_thread(lambda: explain(simulate_change(context, details))),
        }
        if details.problems:
            refusal = refuse(details.problems)
            refusal.members = {"preview": document}
            raise refusal
        return document | {"plan_token": _token(context).encode()}

    async def check(self, session: Session, admitted: AdmittedChange, token: str) -> None:
        """Raises ``PreconditionFailed`` with the difference when another plan holds now, and
        ``InvalidRequest`` for what is no token.
        """
        planned = PlanToken.decode(token)
        context = await read_context(session, self.settings, admitted, self.clock.now_ms())
        found = difference(planned, _token(context))
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


def simulate_change(context: PreviewContext, details: Details) -> PlannedChange:
    """Simulate the change; pure, and slow where hundreds of instances are replaced."""
    admitted, state, service = context.admitted, context.state, context.admitted.service
    observed = Observed(state.instances, state.failures)
    guard = admitted.new.rollout.guard if admitted.new else state.guard
    assumed = Assumptions(
        start_ms={model: time.ms for model, time in details.times.items()},
        other_start_ms=start_time((), ()).ms,
        guard=guard,
    )
    trace = simulate(context.after, observed, assumed, context.now)
    return PlannedChange(
        before=context.before,
        after=context.after,
        observed=observed,
        now=context.now,
        trace=trace,
        status=service.status,
        asked=admitted.update.status or "",
        present=service.desired_revision,
        revision=context.revision,
        stored=admitted.new is not None and context.after.wanted is not DesiredStatus.RUNNING,
        origin=admitted.new.origin if admitted.new else None,
        under_way=details.under_way,
        guard=guard,
        changes=changes_of(admitted, context.now),
        uses=pool_uses(trace, state.instances, details.configs, context.peaks),
        problems=details.problems,
        started_for={row.id: row.revision for row in state.rows.values()},
        names=details.names,
        times=details.times,
        run=run_after(admitted, state),
    )


def _token(context: PreviewContext) -> PlanToken:
    request, service = context.admitted.request, context.state.service
    numbers = {
        "generation": service.generation,
        "serving": service.serving_revision,
        "live": service.live_revision,
        "kept": service.kept_revision,
        "step": service.rollout_step,
    }
    return PlanToken(
        asked=digest_of(request.kind.value, request.body),
        status=service.status,
        numbers=numbers,
        instances={short_id(i.instance_id): i.stage.value for i in context.state.instances},
        models=context.statuses,
        room={pool_name(peak.pool): peak.fits for peak in context.peaks},
    )
