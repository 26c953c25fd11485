"""The table of all fields, through the pure readers (services.md §2, §3, §5, §6, §10)."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest

from field_kit import FACTS
from field_table import Case, cases_by_row
from modelyard.domain.admission.service_body import read_create, read_update

CASES = cases_by_row()

# services.md §2.1, §3.1.
SERVICE_FIELDS = """
service_name infer_type description workspace_id config schedule cluster_id pool_name vpc_id
subnet_network_id security_group_id additional_properties load_balancer_policy service_secrets
priority status
"""
# services.md §3.3, §3.4.
CONFIG_FIELDS = """
model_id specification instance_count weight custom_spec envs cluster_id pool_name nodes src_path
dest_path req_uri mapping_type mapping_rule src_type additional_properties
deploy_timeout_in_seconds affinity
custom_spec.cpu custom_spec.memory custom_spec.gpu_p4 custom_spec.ascend_a310
additional_properties.persistent_volumes additional_properties.log_volume
additional_properties.max_surge additional_properties.max_unavailable
additional_properties.termination_grace_period_seconds
additional_properties.persistent_volumes.name additional_properties.persistent_volumes.mount_path
additional_properties.persistent_volumes.storage_type
additional_properties.persistent_volumes.source_address
additional_properties.log_volume.host_path additional_properties.log_volume.mount_path
affinity.node_affinity affinity.node_affinity.mode affinity.node_affinity.pool_infos
affinity.node_affinity.pool_infos.pool_name affinity.node_affinity.pool_infos.nodes
affinity.node_affinity.pool_infos.nodes.name
"""
# services.md §2.1, §5.1, §6.
STRUCTURED_FIELDS = """
schedule.type schedule.time_unit schedule.duration service_secrets.secretId
service_secrets.mouthPath additional_properties.smn_notification
additional_properties.smn_notification.n.topic_urn additional_properties.smn_notification.n.events
additional_properties.log_report_channels additional_properties.log_report_channels.type
additional_properties.log_report_channels.configuration.log_group_id
additional_properties.log_report_channels.configuration.log_stream_id
additional_properties.websocket_upgrade
"""


def test_the_table_holds_every_field() -> None:
    wanted = {*SERVICE_FIELDS.split(), *STRUCTURED_FIELDS.split()}
    wanted |= {f"config.{name}" for name in CONFIG_FIELDS.split()}
    assert wanted - {case.field for row in CASES.values() for case in row} == set()


@pytest.mark.parametrize("row", CASES)
def test_every_value_of_a_row_is_accepted_or_refused_as_the_table_says(row: str) -> None:
    assert {case.name: found for case in CASES[row] if (found := _difference(case))} == {}


def _difference(case: Case) -> str:
    """What differs from the case's row; empty if nothing does."""
    facts = replace(FACTS, present=case.present)
    body = deepcopy(case.body)
    accepted, problems = (read_create if case.call == "POST" else read_update)(body, facts)
    if body != case.body:
        return "the request was changed while it was read"
    if not all(p.field and p.reason and p.remedy for p in problems):
        return f"a problem without a field, a reason or a remedy: {problems}"
    if case.status == 200:
        return "" if accepted is not None and not problems else f"refused: {problems}"
    if accepted is not None:
        return "accepted"
    first = problems[0]
    named, wanted = (
        (first.field, first.code, first.status),
        (case.problem, case.code, case.status),
    )
    return "" if named == wanted else f"{named} instead of {wanted}"
