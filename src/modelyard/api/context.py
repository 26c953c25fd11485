"""What every route may reach, made once by ``platform.py`` and kept on the application."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from modelyard.clock import Clock
from modelyard.control.changes.service_changes import ServiceChanges
from modelyard.control.ports import Gateway
from modelyard.gateway.request_log.reader import RequestLog
from modelyard.iam.tokens import Tokens
from modelyard.monitor.rate import CallRate
from modelyard.monitor.shadows import ShadowMeter
from modelyard.monitor.usage import UsageMeter
from modelyard.packages.importing.importer import ModelImporter
from modelyard.settings import Settings
from modelyard.store.database import Database


@dataclass(frozen=True, slots=True)
class Context:
    """The parts an API call works with. ``hint(service_id)`` wakes the loop for a service."""

    settings: Settings
    database: Database
    clock: Clock
    tokens: Tokens
    importer: ModelImporter
    gateway: Gateway
    changes: ServiceChanges
    usage: UsageMeter
    rate: CallRate
    shadows: ShadowMeter
    requests: RequestLog
    hint: Callable[[str], None]


# Coroutines, here and in deps.py: FastAPI would run plain functions in a thread each.
async def context_of(request: Request) -> Context:
    return cast("Context", request.app.state.context)


ContextDep = Annotated[Context, Depends(context_of)]
