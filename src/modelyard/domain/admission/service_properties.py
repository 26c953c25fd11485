"""Reading a service's ``additional_properties`` and secrets (services.md §2.1, §5.1); pure.

The map is the caller's own: any JSON, stored and echoed. Members with a documented meaning must
have their documented form, as an object or as a string that holds one.
"""

from __future__ import annotations

import json

from modelyard.domain.admission.requests import Facts, Secret
from modelyard.domain.admission.rollout_policy_body import read_rollout
from modelyard.domain.admission.websocket_upgrade import keep_websockets
from modelyard.domain.body_reader import Fields, JsonObject, shown
from modelyard.domain.service.rollout_policy import Rollout
from modelyard.domain.service.volumes import Mount, check_mounts, read_path

EVENT_IDS = (1, 3, 7, 11)
"""Failed, running, concerning, pending."""

_LTS_ID_LIMIT = 64
_SECRET_ID_LIMIT = 255
_CHANNELS = "log_report_channels"


def read_service_properties(
    fields: Fields, facts: Facts
) -> tuple[JsonObject | None, Rollout | None]:
    """The map to be stored, and the rollout that it asks for; both None when it is absent.

    The map is as it was sent, but for a ``websocket_upgrade`` that it leaves out and that stays on.
    """
    properties = fields.mapping("additional_properties")
    if properties is None:
        return None, None
    unpacked = {key: _unpacked(properties.get(key)) for key in ("smn_notification", _CHANNELS)}
    known = Fields(properties | unpacked, fields.name("additional_properties"), fields.problems)
    _judge_notifications(known)
    _judge_channels(known)
    present = facts.present.additional_properties or {}
    _judge_unchanged(known, present)
    kept = keep_websockets(known, present)
    rollout = read_rollout(
        properties.get("rollout"),
        known.name("rollout"),
        fields.problems,
        facts.checks,
        counted=facts.counted,
    )
    return properties | kept, rollout


def _unpacked(value: object) -> object:
    """A string that holds JSON as what it holds: the oldest form of the map has strings only."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        held: object = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return held


def _judge_notifications(properties: Fields) -> None:
    notifications = properties.nested("smn_notification")
    if notifications is None:
        return
    for name in notifications.body:
        entry = notifications.nested(name)
        if entry is None:
            if not notifications.has(name):
                notifications.problems.missing(
                    notifications.name(name), "Send topic_urn and events."
                )
            continue
        entry.only(("topic_urn", "events"), "Send topic_urn and events.")
        entry.text("topic_urn", required=True, remedy="Send the topic's URN.")
        events = entry.array("events", required=True)
        for index, event in enumerate(events or ()):
            if isinstance(event, bool) or event not in EVENT_IDS:
                entry.problems.invalid(
                    f"{entry.name('events')}[{index}]",
                    f"{shown(event)} is no event",
                    "Send 1 (failed), 3 (running), 7 (concerning) or 11 (pending).",
                )


def _judge_channels(properties: Fields) -> None:
    for channel in properties.objects(_CHANNELS, "Send type and configuration."):
        channel.only(("type", "configuration"), "Send type and configuration.")
        channel.text("type", required=True, choices=("LTS",), remedy="Send LTS.")
        target = channel.nested("configuration", required=True)
        if target is None:
            continue
        target.only(("log_group_id", "log_stream_id"), "Send log_group_id and log_stream_id.")
        for key in ("log_group_id", "log_stream_id"):
            target.text(key, required=True, limit=_LTS_ID_LIMIT)


def _judge_unchanged(properties: Fields, present: JsonObject) -> None:
    """Channels cannot be changed once they are on; the map replaces the former one as a whole."""
    before = _unpacked(present.get(_CHANNELS))
    if before and properties.body.get(_CHANNELS) != before:
        properties.problems.invalid(
            properties.name(_CHANNELS),
            "cannot be changed once enabled",
            "Send it in this map as it was.",
        )


def read_secrets(fields: Fields) -> tuple[Secret, ...] | None:
    """``service_secrets``; None when absent. Both spellings of the path are understood."""
    if fields.array("service_secrets") is None:
        return None
    secrets: list[Secret] = []
    mounts: list[Mount] = []
    for item in fields.objects("service_secrets", "Send secretId and mouthPath."):
        item.only(("secretId", "mouthPath", "mountPath"), "Send secretId and mouthPath.")
        secret = item.text("secretId", required=True, limit=_SECRET_ID_LIMIT)
        key = _path_key(item)
        path = read_path(item, key)
        if path is not None:
            mounts.append(Mount(item.name(key), path))
        if secret is not None and path is not None:
            secrets.append(Secret(secret, path))
    check_mounts("service_secrets", mounts, fields.problems)
    return tuple(secrets)


def _path_key(item: Fields) -> str:
    documented, plain = "mouthPath", "mountPath"
    if item.has(documented) and item.has(plain):
        item.problems.invalid(
            item.name(plain), "comes together with mouthPath", "Send one of the two."
        )
    return plain if item.has(plain) and not item.has(documented) else documented
