"""What a preview is told from, read in one session; nothing is written."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.control import events
from modelyard.control.changes.admission import AdmittedChange
from modelyard.control.changes.capacity import capacity_problems, peaks
from modelyard.control.changes.quotas import Expected, quota_problems
from modelyard.control.preview.projection import desired_after
from modelyard.domain.preview.change import ModelName
from modelyard.domain.preview.peak_demand import NOTHING, Peak
from modelyard.domain.preview.pool_usage import Making
from modelyard.domain.preview.start_times import StartTime, start_time
from modelyard.domain.rollout.state import Desired, DesiredStatus
from modelyard.domain.service.config import VersionConfig
from modelyard.errors import Problem
from modelyard.settings import Settings
from modelyard.store.models import find_models
from modelyard.store.service import services as store
from modelyard.store.service.history import any_start_durations, start_durations
from modelyard.store.service.state import ServiceState, load_state


@dataclass(frozen=True, slots=True)
class PreviewContext:
    """What a plan rests on at ``now`` (ms): all of it is in the plan token.

    ``before`` and ``after``: the wish without and with the change, whose new revision has the
    number ``revision``. ``statuses``: of the models that are wanted then.
    """

    judged: AdmittedChange
    state: ServiceState
    now: int
    before: Desired
    after: Desired
    revision: int | None
    peaks: tuple[Peak, ...]
    statuses: dict[str, str]


@dataclass(frozen=True, slots=True)
class Details:
    """What a plan is told with. ``made``: the configurations behind all instances there are or
    would be; ``names`` and ``times`` are those of their models.
    """

    under_way: bool
    problems: tuple[Problem, ...]
    made: dict[Making, VersionConfig]
    names: dict[str, ModelName]
    times: dict[str, StartTime]


async def look(
    session: AsyncSession, settings: Settings, judged: AdmittedChange, now: int
) -> PreviewContext:
    """The state that a judged change would meet at ``now`` (ms)."""
    service, new = judged.service, judged.new
    state = await load_state(session, service, now)
    before = replace(
        state.desired,
        probation_ms=int(settings.rollout.probation * 1000),
        restart_budget=settings.rollout.restart_budget,
    )
    number = await store.last_revision(session, service.id) + 1 if new else None
    after = desired_after(judged, before, number, now)
    found = await peaks(session, settings, service, new)
    wanted = {v.model_id for v in after.target.versions}
    models = await find_models(session, service.project_id, wanted)
    return PreviewContext(
        judged=judged,
        state=state,
        now=now,
        before=before,
        after=after,
        revision=number,
        # What is not to run takes nothing, whatever is configured.
        peaks=found
        if after.wanted is DesiredStatus.RUNNING
        else tuple(replace(peak, need=NOTHING) for peak in found),
        statuses={i: models[i].status if i in models else "missing" for i in wanted},
    )


async def look_closer(session: AsyncSession, settings: Settings, seen: PreviewContext) -> Details:
    """What a preview tells beside the plan itself."""
    service = seen.judged.service
    configs = await _configs(session, seen.state, seen.judged)
    ids = {version.model_id for config in configs for version in config}
    models = await find_models(session, service.project_id, ids)
    return Details(
        under_way=await events.update_runs(session, service.id),
        problems=tuple(await _problems(session, settings, seen.judged, seen.after)),
        made={(v.model_id, v.fingerprint): v for config in configs for v in config},
        names={model.id: ModelName(model.name, model.version) for model in models.values()},
        times=await _times(session, ids),
    )


async def _configs(
    session: AsyncSession, state: ServiceState, judged: AdmittedChange
) -> list[tuple[VersionConfig, ...]]:
    """The configurations of all that runs, is wanted or would be."""
    numbers = {row.revision for row in state.rows.values()} - set(state.revisions)
    older = await store.revision_configs(session, state.service.id, numbers)
    new = [tuple(judged.new.config)] if judged.new else []
    return [*older.values(), *(r.config for r in state.revisions.values()), *new]


async def _problems(
    session: AsyncSession, settings: Settings, judged: AdmittedChange, after: Desired
) -> list[Problem]:
    """What only the quotas and pools have against the change."""
    service, wish, new = judged.service, judged.wish, judged.new
    if not (wish.configures or wish.status == "running"):
        return []
    runs = after.wanted is DesiredStatus.RUNNING
    config = tuple(new.config) if new else judged.present.config
    expected = Expected(service.id, runs, config)
    problems = await quota_problems(session, settings, service.project_id, expected)
    if runs and not problems:
        problems = await capacity_problems(session, settings, service, new)
    return problems


async def _times(session: AsyncSession, models: set[str]) -> dict[str, StartTime]:
    own = await start_durations(session, models)
    others = () if len(own) == len(models) else await any_start_durations(session)
    return {model: start_time(own.get(model, ()), others) for model in models}
