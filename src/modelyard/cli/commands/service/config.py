"""Build the ``config`` array (services.md §3.3) from the options of a command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelyard.client.api_client import Client
from modelyard.client.documents import Document
from modelyard.client.failures import ClientError
from modelyard.client.names import build_config, parse_choice, read_config, read_envs


@dataclass(frozen=True, slots=True)
class VersionOptions:
    """The options of a command, None or empty where they are not given."""

    model: list[str] | None = None
    config: str | None = None
    flavor: str | None = None
    env: list[str] | None = None
    max_surge: float | None = None
    max_unavailable: float | None = None
    grace: int | None = None

    @property
    def rollout(self) -> dict[str, object]:
        """The rollout limits, by their names in ``additional_properties`` (services.md §5.2)."""
        values = {
            "max_surge": self.max_surge,
            "max_unavailable": self.max_unavailable,
            "termination_grace_period_seconds": self.grace,
        }
        return {key: value for key, value in values.items() if value is not None}


def entries_of(
    client: Client, options: VersionOptions, present: Document | None = None
) -> list[dict[str, object]] | list[object] | None:
    """Return the ``config`` to send; None if no option concerns it. Raises ``ClientError``.

    ``present``: the service as it is; what no option names keeps its value.
    """
    others = options.flavor or options.env or options.rollout
    if options.config is not None:
        if options.model or others:
            raise ClientError(
                "--config cannot be combined with options that change parts of it.",
                "Put everything into --config, or leave it out.",
            )
        return read_config(options.config)
    now = present.parts("config") if present is not None else []
    choices = [parse_choice(text) for text in options.model or ()]
    if not choices and others:
        choices = [
            parse_choice(f"{entry.text('model_id')}={entry.number('weight')}") for entry in now
        ]
    if not choices:
        return None
    entries = build_config(client, choices, options.flavor, read_envs(options.env or ()), now)
    for entry in entries if options.rollout else ():
        entry["additional_properties"] = with_rollout(
            Document(entry.get("additional_properties")).raw, options.rollout
        )
    return entries


def with_rollout(
    properties: Mapping[str, object], rollout: Mapping[str, object]
) -> dict[str, object]:
    """Return a version's ``properties`` with those of ``rollout`` in place of its own. Pure.

    They may stand one level down, in a group of any name, and must not occur twice.
    """
    kept: dict[str, object] = {}
    for key, value in properties.items():
        if key in rollout:
            continue
        if isinstance(value, dict):
            rest = {name: inner for name, inner in value.items() if name not in rollout}
            if not rest and value:
                continue
            value = rest
        kept[key] = value
    return {**kept, **rollout}
