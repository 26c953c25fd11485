"""The preview document: what a change would do, as data and as sentences; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelyard.domain.preview.change import PlannedChange
from modelyard.domain.preview.instance_steps import Act, acts
from modelyard.domain.preview.start_times import basis
from modelyard.domain.preview.summary import sentences
from modelyard.domain.preview.traffic_steps import Move, Part, moves
from modelyard.errors import Problem

JsonObject = dict[str, Any]


def explain(case: PlannedChange) -> JsonObject:
    """As the API answers it, but for the token (docs/previews.md tells each member)."""
    happens, moved = acts(case), moves(case)
    done = case.trace.done_at
    labels = {model: name.label for model, name in case.names.items()}
    started = [start.model_id for start in case.trace.starts]
    return {
        "revision": case.revision,
        "changes": [change.to_json() for change in case.changes],
        "instances": [_act(case, act) for act in happens],
        "traffic": [] if case.run else [_move(case, move) for move in moved],
        "peak": [use.to_json() for use in case.uses],
        "expected_seconds": None if done is None else _seconds(done),
        "expected_by": basis(started, case.times, labels),
        "problems": shown_problems(case.problems),
        "sentences": list(sentences(case, happens, moved)),
    }


def shown_problems(problems: Sequence[Problem]) -> list[JsonObject]:
    return [{"field": p.field, "reason": p.reason, "remedy": p.remedy} for p in problems]


def _act(case: PlannedChange, act: Act) -> JsonObject:
    body: JsonObject = {
        "instance_id": act.instance_id,
        **_model(case, act.model_id),
        "revision": act.revision,
        "action": act.action.value,
        "when_s": _seconds(act.at),
        "why": act.cause.value,
    }
    return body | ({} if act.until is None else {"until_s": _seconds(act.until)})


def _move(case: PlannedChange, move: Move) -> JsonObject:
    return {
        "at_s": _seconds(move.at),
        "revision": move.revision,
        "versions": [_part(case, part) for part in move.parts],
        "why": move.why,
    }


def _part(case: PlannedChange, part: Part) -> JsonObject:
    body: JsonObject = {
        **_model(case, part.model_id),
        "revision": part.revision,
        "weight": part.weight,
        "instances": part.instances,
    }
    return body | ({"shadow": part.shadow} if part.shadow else {})


def _model(case: PlannedChange, model_id: str) -> JsonObject:
    name = case.names.get(model_id)
    return {
        "model_id": model_id,
        "model_name": name.name if name else "",
        "model_version": name.version if name else "",
    }


def _seconds(ms: int) -> float:
    return round(ms / 1000, 1)
