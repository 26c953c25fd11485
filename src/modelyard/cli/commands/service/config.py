"""What a command says of a service's versions, as the ``config`` array (services.md §3.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import typer

from modelyard.client.api_client import Client
from modelyard.client.documents import Document
from modelyard.client.failures import CliError
from modelyard.client.names import build_config, parse_choice, read_config, read_envs

ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="NAME:VERSION, NAME:VERSION=WEIGHT, NAME:VERSION=WEIGHTxCOUNT or a model's id; "
        "repeat it for more.",
    ),
]
ConfigOption = Annotated[
    str | None, typer.Option("--config", help="The whole config array as JSON, or @FILE.")
]
FlavorOption = Annotated[str | None, typer.Option("--flavor", help="Specification to run on.")]
EnvOption = Annotated[
    list[str] | None, typer.Option("--env", help="NAME=value for the model; repeat it for more.")
]
SurgeOption = Annotated[
    float | None,
    typer.Option(
        "--max-surge",
        help="Instances that an update may add for a while: below 1 a fraction, from 1 on a count.",
    ),
]
UnavailableOption = Annotated[
    float | None,
    typer.Option(
        "--max-unavailable",
        help="Instances that may be missing meanwhile: below 1 a fraction, from 1 on a count.",
    ),
]
GraceOption = Annotated[
    int | None,
    typer.Option("--grace", help="Seconds that an instance has to finish what it is asked."),
]


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
        """How instances are exchanged, as ``additional_properties`` name it (services.md §5.2)."""
        said = {
            "max_surge": self.max_surge,
            "max_unavailable": self.max_unavailable,
            "termination_grace_period_seconds": self.grace,
        }
        return {key: value for key, value in said.items() if value is not None}


def entries_of(
    client: Client, wishes: VersionOptions, present: Document | None = None
) -> list[dict[str, object]] | list[object] | None:
    """The ``config`` to send; None when nothing is said of it. Raises ``CliError``.

    ``present``: the service as it is, which keeps what is not mentioned.
    """
    others = wishes.flavor or wishes.env or wishes.rollout
    if wishes.config is not None:
        if wishes.model or others:
            raise CliError(
                "--config cannot be combined with options that change parts of it.",
                "Put everything into --config, or leave it away.",
            )
        return read_config(wishes.config)
    now = present.parts("config") if present is not None else []
    choices = [parse_choice(text) for text in wishes.model or ()]
    if not choices and others:
        choices = [
            parse_choice(f"{entry.text('model_id')}={entry.number('weight')}") for entry in now
        ]
    if not choices:
        return None
    entries = build_config(client, choices, wishes.flavor, read_envs(wishes.env or ()), now)
    for entry in entries if wishes.rollout else ():
        entry["additional_properties"] = with_rollout(
            Document(entry.get("additional_properties")).raw, wishes.rollout
        )
    return entries


def with_rollout(
    properties: Mapping[str, object], rollout: Mapping[str, object]
) -> dict[str, object]:
    """A version's ``properties`` with those of ``rollout`` in place of its own. Pure.

    They may stand one level down, in a group of any name, and must not be there twice.
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
