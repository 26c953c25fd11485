"""Documents that clients send as JSON text, and numbers that they write in other ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from services_api import services_api
from sqlalchemy import update

from field_kit import MODELS
from modelyard.steps import Step
from modelyard.store.tables.service import Service

VERSION = {
    "model_id": MODELS[0].model_id,
    "specification": "modelarts.vm.cpu.2u",
    "instance_count": 1,
    "weight": 100,
}


async def test_the_configuration_may_be_sent_as_text(tmp_path: Path) -> None:
    async with services_api(tmp_path) as api:
        body = {"service_name": "text", "infer_type": "real-time", "config": json.dumps([VERSION])}
        created = await api.call("POST", "/services", json=body)
        assert created.status_code == 200, created.text
        service_id = created.json()["service_id"]
        async with api.database.write(Step.TEST) as session:
            await session.execute(update(Service).values(status="running"))
        service = f"/services/{service_id}"
        more = json.dumps([VERSION | {"instance_count": 2}])
        updated = await api.call("PUT", service, json={"config": more})
        assert updated.status_code == 200, updated.text
        revision = (await api.call("GET", f"{service}/revisions/2")).json()
        assert revision["config"][0]["instance_count"] == 2


@pytest.mark.parametrize(
    "text", ["", "nothing", "{}", "7", '[{"model_id": "\\u0000"}]', "[" * 9999]
)
async def test_a_text_that_holds_no_configuration_is_refused(tmp_path: Path, text: str) -> None:
    async with services_api(tmp_path) as api:
        body = {"service_name": "text", "infer_type": "real-time", "config": text}
        refused = await api.call("POST", "/services", json=body)
        assert refused.status_code == 400
        assert refused.json()["error_msg"].startswith("config")


@pytest.mark.parametrize(
    ("sent", "kept"), [(2, 2), ("2", 2), (2.0, 2), (2.5, None), ("2.0", None), (True, None)]
)
async def test_whole_numbers_may_be_digits_or_have_a_zero_behind_the_point(
    tmp_path: Path, sent: Any, kept: int | None
) -> None:
    async with services_api(tmp_path) as api:
        answer = await api.create("numbers", VERSION | {"instance_count": sent})
        assert answer.status_code == (200 if kept else 400), answer.text
        if kept:
            shown = await api.call("GET", f"/services/{answer.json()['service_id']}/revisions/1")
            assert shown.json()["config"][0]["instance_count"] == kept
