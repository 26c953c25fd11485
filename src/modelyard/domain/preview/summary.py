"""What a person reads of a preview: short English; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from modelyard.domain.preview.change import PlannedChange
from modelyard.domain.preview.instance_steps import Act, Action, Cause, loaded_now
from modelyard.domain.preview.start_times import Known, seconds
from modelyard.domain.preview.traffic_steps import Move, Part
from modelyard.domain.rollout.state import DesiredStatus, Stage
from modelyard.domain.service.resources import Resources
from modelyard.domain.service.revision import Effect

_CONFIG = "config["


def sentences(case: PlannedChange, acts: Iterable[Act], moves: Iterable[Move]) -> tuple[str, ...]:
    """The preview in words, what matters most first."""
    done, moved = tuple(acts), tuple(moves)
    told = [*_refusals(case), *_run(case), *_what(case, done)]
    if case.after.wanted is DesiredStatus.RUNNING and not case.stored and not case.run:
        told += [*_traffic(case, moved), *_guard(case), *_kept(case, done), *_failure(case)]
    return (*told, *_time(case))


def _refusals(case: PlannedChange) -> Iterator[str]:
    for problem in case.problems:
        yield f"It would be refused: {problem.reason}."


def _run(case: PlannedChange) -> Iterator[str]:
    if case.run:
        yield case.run


# -- what happens -------------------------------------------------------------------------------


def _what(case: PlannedChange, acts: tuple[Act, ...]) -> Iterator[str]:
    if not case.changes:
        yield from _nothing(case)
        return
    if case.asked == "stopped" and case.after.wanted is not case.before.wanted:
        yield from _stop(case, acts)
        return
    if case.stored:
        yield (
            f"The service is {case.status}: revision {case.revision} is stored for the next "
            "start, and nothing happens now."
        )
        return
    if case.before == case.after:
        yield f"Nothing restarts: only {_changing(case)}."
        if case.under_way:
            yield f"The update to revision {case.present} goes on meanwhile."
        return
    if case.under_way and case.revision is not None:
        yield f"The update to revision {case.present} is still under way; this one takes its place."
    if case.origin is not None:
        yield f"Revision {case.origin} comes back, as revision {case.revision}."
    yield from _instances(case, acts)


def _nothing(case: PlannedChange) -> Iterator[str]:
    if case.asked:
        yield f"Nothing would change: the service is {case.status} already."
    elif case.revision is not None:
        yield (
            f"Nothing would change: revision {case.revision} would be the same as revision "
            f"{case.present}."
        )
    else:
        yield "Nothing would change."
    if case.under_way and case.revision is None:
        yield f"The update to revision {case.present} goes on meanwhile."


def _stop(case: PlannedChange, acts: tuple[Act, ...]) -> Iterator[str]:
    number = sum(1 for act in acts if act.action in (Action.DRAINED, Action.STOPPED))
    if not number:
        yield "The service stops; it has no instances."
    elif case.run:
        yield f"The service stops, and {_count(number, 'instance')} with it."
    else:
        longest = max(i.grace_ms for i in case.observed.instances)
        who = "1 instance finishes" if number == 1 else f"{number} instances finish"
        yield (
            f"The service stops: {who} the predictions in work, for at most {seconds(longest)}; "
            "others are answered at once that it is not started."
        )
    if case.under_way:
        yield f"The update to revision {case.present} ends with it."


def _instances(case: PlannedChange, acts: tuple[Act, ...]) -> Iterator[str]:
    starts = [a for a in acts if a.action is Action.STARTED]
    leaving = [a for a in acts if a.action in (Action.DRAINED, Action.STOPPED) and not _old(a)]
    taking_over = [a for a in acts if a.cause is Cause.LOADED_ALREADY]
    if not starts and not leaving:
        yield _no_restart(case, taking_over)
        return
    if taking_over:
        yield (
            f"{_count(len(taking_over), 'instance')} of {_models(case, taking_over)} "
            f"{'is' if len(taking_over) == 1 else 'are'} loaded already and "
            f"{'takes' if len(taking_over) == 1 else 'take'} over without a start."
        )
    groups = dict.fromkeys((a.model_id, a.cause) for a in starts)
    for model, cause in groups:
        yield _starts(case, acts, model, cause)
    yield from _leavers(case, starts, leaving)


def _old(act: Act) -> bool:
    """Leaving for reasons that have nothing to do with this change."""
    return act.cause in (Cause.TIME_OVER, Cause.LEAVING)


def _no_restart(case: PlannedChange, taking_over: list[Act]) -> str:
    if taking_over:
        return (
            f"Nothing restarts: the {_count(len(taking_over), 'instance')} of "
            f"{_models(case, taking_over)} that stayed loaded take over at once."
        )
    if any(change.effect is not Effect.NONE for change in case.changes):
        return "Nothing starts or ends: the instances there are suffice."
    return f"Nothing restarts: only {_changing(case)}."


def _starts(case: PlannedChange, acts: tuple[Act, ...], model: str, cause: Cause) -> str:
    mine = [
        a for a in acts if a.action is Action.STARTED and (a.model_id, a.cause) == (model, cause)
    ]
    number, label = len(mine), case.label(model)
    more = " more" if cause is Cause.MORE else ""
    noun = "instance" if number == 1 else "instances"
    what = f"Starts {number}{more} {noun} of {label}"
    if cause is Cause.REPLACES:
        former = _former(case, model)
        what += f" in place of {former}" if former else ""
    what += _pace(case, model, number)
    return what + _consequence(case, cause, number)


def _former(case: PlannedChange, model: str) -> str:
    version = case.after.target.version(model)
    serving = case.after.serving
    before = serving.in_slot(version.slot) if serving and version else None
    return case.label(before.model_id) if before else ""


def _pace(case: PlannedChange, model: str, number: int) -> str:
    """How many of a model's new instances start at the same time."""
    new = {s.instance_id for s in case.trace.starts if s.model_id == model}
    most = max(
        sum(1 for i in m.alive if i.instance_id in new and i.stage is Stage.STARTING)
        for m in case.trace.moments
    )
    if number == 1:
        return ""
    return (
        ", one at a time"
        if most == 1
        else ", all at once"
        if most >= number
        else (f", up to {most} at a time")
    )


def _consequence(case: PlannedChange, cause: Cause, number: int) -> str:
    if cause in (Cause.REPLACES, Cause.REMADE):
        if case.after.target.keep_former_ms:
            return "; the former ones stay loaded for a while."
        if number == 1:
            return "; the old one leaves when it has taken over."
        return "; each old one leaves when its successor has taken over."
    told = {
        Cause.NEW_VERSION: "; they get traffic when they are ready."
        if number > 1
        else "; it gets traffic when it is ready.",
        Cause.MISSING: ", because some that are wanted are missing.",
        Cause.ROLLED_BACK: ", to restore the former revision.",
    }
    return told.get(cause, ".")


def _leavers(case: PlannedChange, starts: list[Act], leaving: list[Act]) -> Iterator[str]:
    replaced = any(a.cause in (Cause.REPLACES, Cause.REMADE) for a in starts)
    for (model, cause, action), number in Counter(
        (a.model_id, a.cause, a.action) for a in leaving
    ).items():
        if cause is Cause.SUCCEEDED and replaced:
            continue  # Told with those that take its place.
        verb = "Drains" if action is Action.DRAINED else "Stops"
        yield f"{verb} {_count(number, 'instance')} of {case.label(model)}: {_LEAVE[cause]}."


_LEAVE = {
    Cause.SERVICE_STOPS: "the service stops",
    Cause.FEWER: "fewer are wanted",
    Cause.SUCCEEDED: "others have taken over",
    Cause.VERSION_GONE: "the version leaves the service",
    Cause.OVERTAKEN: "started for an update that this one overtakes",
    Cause.MAKES_WAY: "another former revision is kept loaded from then on",
    Cause.NOT_IN_TIME: "not ready in time",
    Cause.ROLLED_BACK: "the update is rolled back",
    Cause.GIVEN_UP: "the service has failed",
}


# -- traffic ------------------------------------------------------------------------------------


def _traffic(case: PlannedChange, moves: tuple[Move, ...]) -> Iterator[str]:
    first, last = moves[0], moves[-1]
    if len(moves) == 1 or first.revision is None or last.revision is None:
        if first.revision is None and last.revision is not None:
            yield f"The first prediction is answered after about {seconds(last_served(moves))}."
        return
    before, after = _weights(first.parts), _weights(last.parts)
    if before == after:
        return
    told = [
        f"{case.label(model)} {before.get(model, 0)} % → {after.get(model, 0)} %"
        for model in dict.fromkeys((*after, *before))
        if before.get(model, 0) != after.get(model, 0)
    ]
    yield f"Traffic: {', '.join(told)}."


def last_served(moves: tuple[Move, ...]) -> int:
    """When (ms) the service answers for the first time."""
    return next(move.at for move in moves if move.revision is not None)


def _weights(parts: Iterable[Part]) -> dict[str, int]:
    weights: Counter[str] = Counter()
    for part in parts:
        weights[part.model_id] += part.weight
    return dict(weights)


def _guard(case: PlannedChange) -> Iterator[str]:
    guard = case.guard
    if guard is None or not any(moment.percent for moment in case.trace.moments):
        return
    steps = ", ".join(str(step) for step in guard.steps)
    yield (
        f"A guard moves the traffic in steps of {steps} %, each held for at least "
        f"{seconds(guard.hold_s * 1000)}, and goes back by itself when the new version does worse. "
        "With few predictions a step may take up to ten times as long."
    )


# -- what it costs, how it ends -----------------------------------------------------------------


def _kept(case: PlannedChange, acts: tuple[Act, ...]) -> Iterator[str]:
    already = loaded_now(case)
    if all(a.instance_id in already for a in acts if a.action is Action.LOADED):
        return
    former = case.after.live
    name = f"revision {former.number}" if former else "the former revision"
    minutes = round(case.after.target.keep_former_ms / 60_000)
    cost = Resources()
    for use in case.uses:
        cost += use.kept
    yield (
        f"Going back within {_count(minutes, 'minute')} will be immediate; until then {name} "
        f"costs {told_resources(cost)}."
    )


def told_resources(amount: Resources) -> str:
    """``4 cores and 16,384 MB``, with accelerators if there are any."""
    parts = [f"{amount.cpu:g} {'core' if amount.cpu == 1 else 'cores'}", f"{amount.memory_mb:,} MB"]
    if amount.gpu:
        parts.append(f"{amount.gpu:g} GPU")
    if amount.npu:
        parts.append(f"{amount.npu} NPU")
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _failure(case: PlannedChange) -> Iterator[str]:
    trace = case.trace
    if trace.cause:
        verb = "given up" if trace.end.given_up else "rolled back"
        yield f"It would be {verb}: {trace.cause}."
    elif not trace.at_rest:
        yield "It takes too many steps to be followed to its end here."
    elif trace.done_at is None and case.after != case.before:
        yield "It would come to a standstill before its end: send another change, or none."


def _time(case: PlannedChange) -> Iterator[str]:
    done = case.trace.done_at
    if done is None or not case.changes or case.before == case.after or case.stored:
        return
    started = {start.model_id for start in case.trace.starts}
    if not started and done < 1_000:
        yield "Takes less than a second."
        return
    guessed = any(t.known is Known.GUESS for m, t in case.times.items() if m in started)
    yield f"Takes about {seconds(done)}{', which is a guess' if guessed else ''}."


# -- words --------------------------------------------------------------------------------------

_WORDS = {
    "weight": "weights",
    "load_balancer_policy": "the load-balancer policy",
    "description": "the description",
    "schedule": "the schedule",
    "due_time": "the time of the auto stop",
    "additional_properties": "the additional properties",
    "priority": "the priority",
    "service_secrets": "the secrets",
    "shadow": "shadows",
    "max_surge": "the surge",
    "max_unavailable": "the unavailability",
    "deploy_timeout_in_seconds": "the deadline of starts",
    "termination_grace_period_seconds": "the grace period",
    "rollout": "the way of the rollout",
}


_MANY = frozenset({"weights", "shadows", "the additional properties", "the secrets"})


def _changing(case: PlannedChange) -> str:
    """Which fields change, in words."""
    names = [_word(change.field) for change in case.changes if change.field != "status"]
    words = list(dict.fromkeys(names))
    many = len(words) > 1 or _MANY.issuperset(words)
    return f"{_listed(words)} {'change' if many else 'changes'}"


def _word(name: str) -> str:
    if name.startswith("rollout."):
        return _WORDS["rollout"]
    last = name.split(".", 1)[1] if name.startswith(_CONFIG) and "." in name else name
    return _WORDS.get(last.split(".")[0], last)


def _listed(words: list[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _models(case: PlannedChange, acts: Iterable[Act]) -> str:
    return _listed(list(dict.fromkeys(case.label(act.model_id) for act in acts)))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
