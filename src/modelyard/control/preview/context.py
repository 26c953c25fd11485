"""What a preview is made from, read in one session; nothing is written."""

from __future__ import annotations

from dataclasses import dataclass, replace

from modelyard.control.changes.admission import AdmittedChange
from modelyard.control.changes.capacity import capacity_problems, peaks
from modelyard.control.changes.quotas import Expected, quota_problems
from modelyard.control.changes.update import next_numbers
from modelyard.control.preview.projection import desired_after
from modelyard.domain.preview.change import ModelName
from modelyard.domain.preview.peak_demand import NOTHING, Peak
from modelyard.domain.preview.pool_usage import Making
from modelyard.domain.preview.start_times import StartTime, start_time
from modelyard.domain.rollout.state import Desired, DesiredStatus
from modelyard.domain.service.config import VersionConfig
from modelyard.errors import Problem
from modelyard.settings import Settings
from modelyard.store.database import Session
from modelyard.store.models import find_models
from modelyard.store.service import services as store
from modelyard.store.service import update_logs
from modelyard.store.service.history import any_start_durations, start_durations
from modelyard.store.service.state import ServiceState, load_state


@dataclass(frozen=True, slots=True)
class PreviewContext:
    """What a plan rests on at ``now`` (ms): all of it is in the plan token.

    ``before`` and ``after``: the desired state without and with the change, whose new revision has
    the number ``revision``. ``statuses``: of the models that are asked for then.
    """

    admitted: AdmittedChange
    state: ServiceState
    now: int
    before: Desired
    after: Desired
    revision: int | None
    peaks: tuple[Peak, ...]
    statuses: dict[str, str]


@dataclass(frozen=True, slots=True)
class Details:
    """What a preview shows beside the plan. ``configs``: the configurations behind all instances
    there are or would be; ``names`` and ``times`` are those of their models.
    """

    under_way: bool
    problems: tuple[Problem, ...]
    configs: dict[Making, VersionConfig]
    names: dict[str, ModelName]
    times: dict[str, StartTime]


async def read_context(
    session: Session, settings: Settings, admitted: AdmittedChange, now: int
) -> PreviewContext:
    """Read the state that an admitted change would meet at ``now`` (ms)."""
    service, new = admitted.service, admitted.new
    state = await load_state(session, service, now)
    before = state.desired_under(settings.rollout.probation, settings.rollout.restart_budget)
    numbers = await next_numbers(session, admitted, now)
    after = desired_after(admitted, before, numbers, now)
    found = await peaks(session, settings, service, new)
    asked_for = {v.model_id for v in after.target.versions}
    models = await find_models(session, service.project_id, asked_for)
    return PreviewContext(
        admitted=admitted,
        state=state,
        now=now,
        before=before,
        after=after,
        revision=numbers.revision if new else None,
        # What is not to run takes nothing, whatever is configured.
        peaks=found
        if after.wanted is DesiredStatus.RUNNING
        else tuple(replace(peak, need=NOTHING) for peak in found),
        statuses={i: models[i].status if i in models else "missing" for i in asked_for},
    )


async def read_details(session: Session, settings: Settings, context: PreviewContext) -> Details:
    """Read what a preview shows beside the plan itself."""
    service = context.admitted.service
    configs = await _configs(session, context.state, context.admitted)
    ids = {version.model_id for config in configs for version in config}
    models = await find_models(session, service.project_id, ids)
    return Details(
        under_way=await update_logs.update_runs(session, service.id),
        problems=tuple(await _problems(session, settings, context.admitted, context.after)),
        configs={(v.model_id, v.fingerprint): v for config in configs for v in config},
        names={model.id: ModelName(model.name, model.version) for model in models.values()},
        times=await _times(session, ids),
    )


async def _configs(
    session: Session, state: ServiceState, admitted: AdmittedChange
) -> list[tuple[VersionConfig, ...]]:
    """Read the configurations of all that runs, is desired or would be."""
    numbers = {row.revision for row in state.rows.values()} - set(state.revisions)
    older = await store.revision_configs(session, state.service.id, numbers)
    new = [tuple(admitted.new.config)] if admitted.new else []
    return [*older.values(), *(r.config for r in state.revisions.values()), *new]


async def _problems(
    session: Session, settings: Settings, admitted: AdmittedChange, after: Desired
) -> list[Problem]:
    """List the problems that quotas and pools have with the change."""
    service, update, new = admitted.service, admitted.update, admitted.new
    if not (update.configures or update.status == "running"):
        return []
    runs = after.wanted is DesiredStatus.RUNNING
    config = tuple(new.config) if new else admitted.present.config
    expected = Expected(service.id, runs, config)
    problems = await quota_problems(session, settings, service.project_id, expected)
    if runs and not problems:
        problems = await capacity_problems(session, settings, service, new)
    return problems


async def _times(session: Session, models: set[str]) -> dict[str, StartTime]:
    own = await start_durations(session, models)
    others = () if len(own) == len(models) else await any_start_durations(session)
    return {model: start_time(own.get(model, ()), others) for model in models}
