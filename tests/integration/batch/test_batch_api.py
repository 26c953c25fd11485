"""The calls of batch services over the real API and a real object store's folder; nothing runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from batch_services import OTHER, ROWS, add_models, finished, job
from services_api import CLAIMS, PROJECT
from sqlalchemy import select, update

from migrated import bring_up_to_date
from modelyard.api.app import create_app
from modelyard.api.context import Context
from modelyard.api.routers import all_routers
from modelyard.batch.surveyor import ObjectSurveyor
from modelyard.control.changes.service_changes import ServiceChanges
from modelyard.control.preview.service_preview import Previews
from modelyard.domain.batch.progress import to_json
from modelyard.domain.batch.run import RunLimits
from modelyard.monitor.rate import CallRate
from modelyard.monitor.shadows import ShadowMeter
from modelyard.monitor.usage import UsageMeter
from modelyard.objects.store import Objects
from modelyard.settings import Settings
from modelyard.steps import Step
from modelyard.store.database import Database
from modelyard.store.tables.batch import BatchRun
from modelyard.store.tables.service import Service
from modelyard.testing.clock import FakeClock

Json = dict[str, Any]


class BatchApi:
    """A caller of one project, and the store that its services read."""

    def __init__(self, http: httpx.AsyncClient, database: Database, objects: Path) -> None:
        self.http, self.database, self.objects = http, database, objects

    def put_object(self, path: str, content: str = "1\n2\n") -> None:
        target = self.objects / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)

    async def call(self, method: str, tail: str = "", **more: Any) -> httpx.Response:
        return await self.http.request(method, f"/v1/{PROJECT}/services{tail}", **more)

    async def create(self, *config: Json, name: str = "nightly", **more: Any) -> httpx.Response:
        body = {"service_name": name, "infer_type": "batch", "config": list(config or (job(),))}
        return await self.call("POST", json=body, **more)

    async def created(self, *config: Json, name: str = "nightly") -> str:
        answer = await self.create(*config, name=name)
        assert answer.status_code == 200, answer.text
        return cast("str", answer.json()["service_id"])

    async def get(self, tail: str, **query: str) -> Json:
        answer = await self.call("GET", tail, params=query)
        assert answer.status_code == 200, answer.text
        return cast("Json", answer.json())

    async def end(self, service_id: str, failed: int) -> str:
        """The run is over, as the loop writes it; gives the task id."""
        async with self.database.write(Step.TEST) as session:
            open_one = (BatchRun.service_id == service_id, BatchRun.outcome == "")
            run = (await session.scalars(select(BatchRun).where(*open_one))).one()
            run.outcome, run.started_at, run.finished_at, run.closed_at = "finished", 5, 9, 9
            run.progress = to_json(finished(100, failed).progress)
            run.manifests = ["obs://outbox/res/x.manifest"]
            await session.execute(
                update(Service)
                .where(Service.id == service_id)
                .values(status="finished", given_up=True)
            )
            return run.task_id


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[BatchApi]:
    settings = Settings(home=tmp_path)
    settings.layout.prepare_home()
    database, clock = Database(settings.database), FakeClock()
    await bring_up_to_date(database)
    await add_models(database, PROJECT)
    objects = ObjectSurveyor(RunLimits(), Objects(settings.objects))
    context = SimpleNamespace(
        settings=settings,
        database=database,
        clock=clock,
        tokens=SimpleNamespace(verify=lambda _token: CLAIMS),
        changes=ServiceChanges(settings, database, clock, Previews(settings, clock), objects),
        usage=UsageMeter(),
        rate=CallRate(),
        shadows=ShadowMeter(),
        hint=lambda _service_id: None,
    )
    transport = httpx.ASGITransport(app=create_app(cast("Context", context), all_routers()))
    headers = {"X-Auth-Token": "t"}
    async with httpx.AsyncClient(
        transport=transport, base_url=settings.gateway.address, headers=headers
    ) as http:
        made = BatchApi(http, database, Path(settings.objects))
        made.put_object("inbox/people/table.csv")
        yield made
    await database.close()


async def test_show_has_what_a_batch_service_has_and_no_address(api: BatchApi) -> None:
    service_id = await api.created(job(src_path="s3://inbox/people"))
    service = await api.get(f"/{service_id}")
    assert (service["infer_type"], service["status"]) == ("batch", "deploying")
    assert not {"access_address", "load_balancer_policy", "schedule"} & set(service)
    [entry] = service["config"]
    assert {key: entry[key] for key in ("src_path", "dest_path", "req_uri", "mapping_type")} == {
        "src_path": "obs://inbox/people/",
        "dest_path": "obs://outbox/res/",
        "req_uri": "/",
        "mapping_type": "csv",
    }
    assert entry["mapping_rule"] == job()["mapping_rule"]
    assert not {"src_type", "weight", "start_time", "request_field"} & set(entry)
    [run] = (await api.get(f"/{service_id}/runs"))["runs"]
    assert (run["task_id"], run["status"], run["progress"]) == (entry["task_id"], "waiting", 0)

    task_id = await api.end(service_id, failed=2)
    service = await api.get(f"/{service_id}")
    assert (service["status"], service["progress"]) == ("finished", 100)
    [entry] = service["config"]
    assert (entry["task_id"], entry["start_time"], entry["finished_time"]) == (task_id, 5, 9)
    [listed] = (await api.get("", infer_type="batch"))["services"]
    assert (listed["start_time"], listed["finished_time"], listed["progress"]) == (5, 9, 100)
    run = await api.get(f"/{service_id}/runs/{task_id}")
    assert (run["processed"], run["failed"], run["unit"], run["can_retry"]) == (
        100,
        2,
        "rows",
        True,
    )
    assert run["manifests"] == ["obs://outbox/res/x.manifest"]
    assert (await api.get(f"/{service_id}/monitor"))["batch"]["failed"] == 2


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"src_path": "obs://inbox/nothing/"}, "3551", "src_path"),
        ({"src_path": "obs://no-such-bucket/"}, "3551", "src_path"),
        ({"src_path": "obs://inbox/mixed/"}, "3572", "src_path"),
        ({"src_path": "obs://inbox/bad.manifest", "src_type": "ManifestFile"}, "3572", "src_path"),
        ({"src_path": "obs://inbox/no.manifest", "src_type": "ManifestFile"}, "3551", "src_path"),
    ],
)
async def test_what_cannot_be_read_is_refused_at_once(
    api: BatchApi, change: Json, code: str, field: str
) -> None:
    api.put_object("inbox/mixed/a.csv")
    api.put_object("inbox/mixed/b.txt")
    api.put_object("inbox/bad.manifest", "no json\n")
    answer = await api.create(job(**change))
    told = answer.json()
    assert (answer.status_code, told["error_code"]) == (400, f"ModelArts.{code}"), told
    assert told["problems"][0]["field"] == f"config[0].{field}"
    assert (await api.get(""))["count"] == 0
    service_id = await api.created()
    await api.end(service_id, failed=0)
    answer = await api.call("PUT", f"/{service_id}", json={"config": [job(**change)]})
    assert (answer.status_code, answer.json()["error_code"]) == (400, f"ModelArts.{code}")
    value = change["src_path"]
    if "src_type" not in change:
        operation = [{"op": "replace", "path": "/config/0/src_path", "value": value}]
        answer = await api.call("PATCH", f"/{service_id}", json=operation)
        assert (answer.status_code, answer.json()["error_code"]) == (400, f"ModelArts.{code}")
    assert len((await api.get(f"/{service_id}/runs"))["runs"]) == 1


async def test_an_update_of_something_else_does_not_ask_for_the_input(api: BatchApi) -> None:
    service_id = await api.created()
    await api.end(service_id, failed=0)
    (api.objects / "inbox/people/table.csv").unlink()
    answer = await api.call("PUT", f"/{service_id}", json={"config": [job(OTHER, count=2)]})
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"update_time", "resource_ids"}


async def test_a_repeated_call_gets_its_answer_whatever_became_of_the_input(api: BatchApi) -> None:
    key = {"Idempotency-Key": "once"}
    first = await api.create(headers=key)
    (api.objects / "inbox/people/table.csv").unlink()
    again = await api.create(headers=key)
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_a_dry_run_tells_what_a_run_would_do(api: BatchApi) -> None:
    api.put_object("inbox/people/more.csv", "x\n3\n")
    answer = await api.create(params={"dry_run": "true"})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["dry_run"], told["service_name"]) == (True, "nightly")
    assert told["input"] == {
        "source": "obs://inbox/people/",
        "files": 2,
        "bytes": 8,
        "complete": True,
    }
    first, second, third = told["requests"]
    assert "error" in first
    assert (second["body"], second["row"], third["body"]) == ({"x": 3}, 2, {"x": 1})
    assert told["output"]["manifest"] == "obs://outbox/res/infer-result-{task_id}.manifest"
    assert (await api.get(""))["count"] == 0


async def test_a_dry_run_is_refused_as_the_call_would_be(api: BatchApi) -> None:
    answer = await api.create(job(src_path="x", req_uri="/no"), params={"dry_run": "true"})
    assert answer.status_code == 400
    assert [one["field"] for one in answer.json()["problems"]] == [
        "config[0].src_path",
        "config[0].req_uri",
    ]
    real_time = {
        "service_name": "r",
        "infer_type": "real-time",
        "config": [
            {
                "model_id": ROWS,
                "weight": 100,
                "specification": "modelarts.vm.cpu.2u",
                "instance_count": 1,
            }
        ],
    }
    answer = await api.call("POST", json=real_time, params={"dry_run": "true"})
    assert (answer.status_code, (await api.get(""))["count"]) == (400, 0)
    assert "batch" in answer.json()["error_msg"]


async def test_the_preview_of_a_change_tells_what_becomes_of_the_run(api: BatchApi) -> None:
    service_id = await api.created()
    await api.end(service_id, failed=1)
    api.put_object("inbox/others/table.csv", "7\n")
    body = {"config": [job(src_path="obs://inbox/others/")]}
    query = {"dry_run": "true"}
    answer = await api.call("PUT", f"/{service_id}", json=body, params=query)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["sentences"][0] == "A new run begins."
    assert told["traffic"] == []
    assert told["requests"][0]["body"] == {"x": 7}
    answer = await api.call("POST", f"/{service_id}/retry-failed", json={}, params=query)
    assert "computes the failures" in answer.json()["sentences"][0]
    assert len((await api.get(f"/{service_id}/runs"))["runs"]) == 1


async def test_runs_are_of_batch_services(api: BatchApi) -> None:
    service_id = await api.created()
    answer = await api.call("GET", f"/{service_id}/runs/none")
    assert (answer.status_code, answer.json()["error_code"]) == (404, "ModelArts.3822")
    body = {
        "service_name": "online",
        "infer_type": "real-time",
        "config": [
            {
                "model_id": ROWS,
                "weight": 100,
                "specification": "modelarts.vm.cpu.2u",
                "instance_count": 1,
            }
        ],
    }
    online = (await api.call("POST", json=body)).json()["service_id"]
    for method, tail in (("GET", "runs"), ("GET", "runs/x"), ("POST", "retry-failed")):
        answer = await api.call(method, f"/{online}/{tail}")
        assert (answer.status_code, answer.json()["error_code"]) == (400, "ModelArts.3518")
    assert (await api.call("GET", f"/{'0' * 36}/runs")).status_code == 404


async def test_a_retry_is_a_start(api: BatchApi) -> None:
    service_id = await api.created()
    answer = await api.call("POST", f"/{service_id}/retry-failed", json={})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "ModelArts.3519")
    task_id = await api.end(service_id, failed=1)
    answer = await api.call("POST", f"/{service_id}/retry-failed")
    assert (answer.status_code, answer.json()) == (200, {})
    newest, _ = (await api.get(f"/{service_id}/runs"))["runs"]
    assert (newest["retry_of"], newest["status"]) == (task_id, "waiting")
    assert (await api.get(f"/{service_id}"))["status"] == "deploying"


async def test_the_description_of_the_api_has_our_additions(api: BatchApi) -> None:
    paths = (await api.http.get("/openapi.json")).json()["paths"]
    service = "/v1/{project_id}/services/{service_id}"
    for tail, method in (("/runs", "get"), ("/runs/{task_id}", "get"), ("/retry-failed", "post")):
        assert paths[service + tail][method]["description"]
    create = paths["/v1/{project_id}/services"]["post"]
    assert "dry_run" in [one["name"] for one in create["parameters"]]
