"""Object paths and mapping rules, as admission needs them; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelyard.batch.driver.inputs import check_places
from modelyard.batch.formats.mapping import BadRule, fits, parse_rule
from modelyard.domain.batch.run import RunSpec
from modelyard.domain.service.batch_job import BatchJob
from modelyard.errors import Problem
from modelyard.objects.paths import parse_path

JsonObject = dict[str, Any]


class ObjectRules:
    """Satisfies ``domain.service.batch_job.BatchRules``."""

    def path(self, text: str, field: str) -> str:
        """Any documented form as ``obs://bucket/key``; a URL may be signed (inference.md §2.2).

        Raises ``InvalidRequest``.
        """
        if text.lower().startswith("https://"):
            # The platform reads with its own key: what a signature would allow is void.
            text = text.partition("?")[0]
        return str(parse_path(text, field))

    def clashes(self, job: BatchJob) -> Sequence[Problem]:
        """What is wrong with source and destination together; fields without their path."""
        return check_places(
            RunSpec(
                task_id="",
                service_id="",
                project_id="",
                model_id="",
                source=job.src_path,
                source_type=job.src_type,
                destination=job.dest_path,
                mapping_type=job.mapping_type,
            )
        )

    def misfits(self, rule: JsonObject, schema: Mapping[str, Any]) -> Sequence[str]:
        """Why ``rule`` cannot be followed, or contradicts the api's ``schema``."""
        try:
            return fits(parse_rule(rule), schema)
        except BadRule as error:
            return error.problems
