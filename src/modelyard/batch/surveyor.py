"""Check the input of a batch service before a request is written down.

Objects are listed and read here, which may take seconds: never inside a transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelyard.batch.driver.inputs import Survey, survey
from modelyard.batch.formats.result_names import manifest_name, result_folder
from modelyard.domain.batch.run import RunLimits, RunSpec, draft_spec
from modelyard.domain.service.config import VersionConfig
from modelyard.errors import Problem, refuse
from modelyard.objects.store import Objects

JsonObject = dict[str, Any]

_GLANCE = 100
"""Files that a create or an update looks at; a preview looks at more."""
_LISTED = 1_000
_SAMPLES = 3
_CONFIG = "config[0]"


@dataclass(frozen=True, slots=True)
class ObjectSurveyor:
    """Satisfies ``control.ports.Surveyor``.

    Its methods raise ``Unavailable`` when the object store does not answer.
    """

    limits: RunLimits
    objects: Objects

    async def check(self, project_id: str, config: VersionConfig) -> None:
        refuse_bad(await survey(self.objects, self._spec(project_id, config), _GLANCE, 0))

    async def preview(self, project_id: str, config: VersionConfig) -> JsonObject:
        spec = self._spec(project_id, config)
        found = await survey(self.objects, spec, _LISTED, _SAMPLES)
        refuse_bad(found)
        return run_preview(spec, found)

    def _spec(self, project_id: str, config: VersionConfig) -> RunSpec:
        assert config.batch is not None
        return draft_spec(config.batch, project_id, config.model_id, self.limits)


def refuse_bad(found: Survey) -> None:
    """Raise ``InvalidRequest`` with the problems of a survey, if there are any."""
    if found.problems:
        raise refuse([placed(problem) for problem in found.problems])


def placed(problem: Problem) -> Problem:
    """Return a problem of the survey, named by the field of the request."""
    return replace(problem, field=f"{_CONFIG}.{problem.field}")


def run_preview(spec: RunSpec, found: Survey) -> JsonObject:
    """Return what a run would read, send and write.

    ``complete`` false: there is more input than was looked at.
    """
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
