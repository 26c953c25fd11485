"""Looking at the input of a batch service before anything of a call is written down.

Objects are listed and read here, which may take seconds: never inside a transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from modelyard.batch.driver.inputs import Survey, survey
from modelyard.batch.formats.result_names import manifest_name, result_folder
from modelyard.batch.spec import RunSpec
from modelyard.control.batch.runs import draft_spec
from modelyard.domain.service.config import VersionConfig
from modelyard.errors import Problem, refuse
from modelyard.objects.store import Objects
from modelyard.settings import Settings

JsonObject = dict[str, Any]

_GLANCE = 100
"""Files that a create or an update looks at; a preview looks at more."""
_LISTED = 1_000
_SAMPLES = 3
_CONFIG = "config[0]"


class Surveyor(Protocol):
    """Looks at what a configuration would read and write."""

    async def check(self, project_id: str, config: VersionConfig) -> None:
        """Raises ``InvalidRequest`` 3551, 3567 or 3572 for an input or output that is unusable."""
        ...

    async def preview(self, project_id: str, config: VersionConfig) -> JsonObject:
        """What a run would read, send and write; raises like ``check``."""
        ...


@dataclass(frozen=True, slots=True)
class ObjectSurveyor:
    """Satisfies ``Surveyor``. Its calls raise ``Unavailable`` when the store does not answer."""

    settings: Settings
    objects: Objects

    async def check(self, project_id: str, config: VersionConfig) -> None:
        spec = draft_spec(config, project_id, self.settings)
        refuse_bad(await survey(self.objects, spec, _GLANCE, 0))

    async def preview(self, project_id: str, config: VersionConfig) -> JsonObject:
        spec = draft_spec(config, project_id, self.settings)
        found = await survey(self.objects, spec, _LISTED, _SAMPLES)
        refuse_bad(found)
        return told(spec, found)


def refuse_bad(found: Survey) -> None:
    """Raises ``InvalidRequest`` with the problems of a survey, if there are any."""
    if found.problems:
        raise refuse([placed(problem) for problem in found.problems])


def placed(problem: Problem) -> Problem:
    """A problem of the survey, named by the field of the request."""
    return replace(problem, field=f"{_CONFIG}.{problem.field}")


def told(spec: RunSpec, found: Survey) -> JsonObject:
    """The preview of a run. ``complete`` false: there is more input than was looked at."""
    task = "{task_id}"
    requests: Sequence[Mapping[str, object]] = found.requests
    return {
        "input": {
            "source": spec.source,
            "files": found.files,
            "bytes": found.bytes,
            "complete": found.complete,
        },
        "requests": [dict(request) for request in requests],
        "output": {
            "manifest": f"{spec.destination}{manifest_name(task, 0)}",
            "results": f"{spec.destination}{result_folder(task)}/",
        },
    }
