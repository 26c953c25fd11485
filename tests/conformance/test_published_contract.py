"""The contract that is checked in, served and shown: complete, current, and readable offline."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

from contract import document
from modelyard.api.app import create_app
from modelyard.api.routers import all_routers

ROOT = Path(__file__).parents[2]
# Calls that take no body, whatever their method.
BODILESS = {"DeleteService", "DeleteModel", "AssignRole", "UnassignRole", "RotateSigningKeys"}
# They answer that all went well with no content, or never that it did.
WITHOUT_CONTENT = {
    "CreateServiceTags",
    "DeleteServiceTags",
    "AssignRole",
    "UnassignRole",
    "UpdateEdgeNodeStatus",
}


def _operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_the_checked_in_contract_is_what_the_routes_declare() -> None:
    command = [sys.executable, "-m", "modelyard.api"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    kept = (ROOT / "openapi.json").read_text()
    assert printed == kept, "the contract has changed: run `make openapi`, and look at the diff"


def test_every_operation_has_a_name_and_typed_answers() -> None:
    names = [operation["operationId"] for _, _, operation in _operations()]
    assert len(names) == len(set(names))
    for _, path, operation in _operations():
        name, answers = operation["operationId"], operation["responses"]
        assert {"400", "500", "503"} <= set(answers), (name, path)
        for status, answer in answers.items():
            if int(status) < 300 and (
                name in WITHOUT_CONTENT or operation["tags"] == ["predictions"]
            ):
                continue
            schema = answer["content"]["application/json"]["schema"]
            assert set(schema) == {"$ref"}, (name, status, schema)


def test_every_body_has_a_model() -> None:
    for method, _, operation in _operations():
        name = operation["operationId"]
        takes_one = method in ("post", "put", "patch", "delete") and name not in BODILESS
        assert ("requestBody" in operation) == takes_one, name


def test_calls_that_need_a_token_say_so() -> None:
    open_calls = {
        operation["operationId"] for _, _, operation in _operations() if "security" not in operation
    }
    assert open_calls == {
        "CreateToken",
        "ListApiVersions",
        "ShowIdentityVersion",
        "ShowServiceApiV1",
        "ShowServiceApiV2",
        "ShowProjectApiV1",
        "ShowProjectApiV2",
    }
    for _, _, operation in _operations():
        sent = [parameter["name"] for parameter in operation.get("parameters", ())]
        assert "X-Auth-Token" not in sent


def test_all_references_lead_somewhere() -> None:
    text = json.dumps(document())
    for name in set(re.findall(r'"#/components/schemas/([^"]+)"', text)):
        assert name in document()["components"]["schemas"]
    for schema in document()["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)


def _accepts(name: str, body: object) -> bool:
    schema = {"$ref": f"#/$defs/{name}", "$defs": document()["components"]["schemas"]}
    text = json.dumps(schema).replace("#/components/schemas/", "#/$defs/")
    return bool(jsonschema_rs.is_valid(json.loads(text), body))


VERSION = {"model_id": "m", "specification": "modelarts.vm.cpu.2u", "instance_count": 1}


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("UpdateServiceRequest", {"status": "running"}),
        ("UpdateServiceRequest", {"description": "", "config": None}),
        ("UpdateServiceRequest", {"config": [VERSION | {"weight": "100"}]}),
        ("UpdateServiceRequest", {"config": [VERSION | {"weight": 0, "instance_count": "2"}]}),
        ("UpdateServiceRequest", {"config": json.dumps([VERSION])}),
        ("UpdateServiceRequest", {"config": [VERSION | {"mapping_rule": "{}"}]}),
        ("UpdateServiceRequest", {"additional_properties": {"anything": [1, {"at": "all"}]}}),
        ("UpdateServiceRequest", {"additional_properties": {"rollout": '{"steps": [5]}'}}),
        ("UpdateServiceRequest", {"additional_properties": {"rollout": {"steps": ["5", 10]}}}),
        (
            "UpdateServiceRequest",
            {"config": [VERSION | {"additional_properties": {"any": {"max_surge": 0.5}}}]},
        ),
        (
            "UpdateServiceRequest",
            {"schedule": [{"type": "stop", "time_unit": "MINUTES", "duration": "90"}]},
        ),
        ("PatchServiceRequest", [{"op": "replace", "path": "/config/0/weight", "value": "1"}]),
        (
            "UpdateServicePropertyRequest",
            {
                "changed_property": "instance_count",
                "configs": [{"model_id": "m", "changed_value": "3"}],
            },
        ),
        ("CreateServiceTagsRequest", {"tags": [{"key": "größe", "value": "a/b"}]}),
    ],
)
def test_every_documented_form_fits_the_contract(name: str, body: object) -> None:
    assert _accepts(name, body)


@pytest.mark.parametrize(
    "body",
    [
        {"sttus": "running"},
        {"status": "paused"},
        {"config": []},
        {"config": [VERSION | {"weight": "101"}]},
        {"config": [VERSION | {"weight": -1}]},
        {"config": [VERSION | {"deploy_timeout_in_seconds": "179"}]},
        {"config": [VERSION | {"envs": {"": "x"}}]},
        {"priority": 4},
    ],
)
def test_what_is_refused_for_its_form_does_not_fit_the_contract(body: object) -> None:
    assert not _accepts("UpdateServiceRequest", body)


async def test_the_pages_load_nothing_from_elsewhere() -> None:
    app = create_app(None, all_routers())  # type: ignore[arg-type]
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        assert (await client.get("/openapi.json")).json() == document()
        for page in ("/docs", "/redoc"):
            answer = await client.get(page)
            assert answer.status_code == 200
            policy = answer.headers["Content-Security-Policy"]
            # Sources are this origin, what is in the page, and nothing that has a host.
            assert "default-src 'none'" in policy
            assert "http" not in policy
            assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", answer.text)
            loaded = re.findall(r"""(?:src|href)=["'](/[^"']+)""", answer.text)
            assert loaded
            for path in loaded:
                assert (await client.get(path)).status_code == 200, path
