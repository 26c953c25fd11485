"""Import, list, show and delete of models over HTTP (models.md §1), with real files."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from catalogue_support import CONFIG, Caller, Catalogue, catalogue
from sqlalchemy import update

from modelyard.clock import SystemClock
from modelyard.objects.store import Objects
from modelyard.objects.transfer import Limits
from modelyard.packages.environments.shared import Environments
from modelyard.packages.importing.importer import ModelImporter
from modelyard.steps import Step
from modelyard.store.tables.model import Model


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Catalogue]:
    limits = Limits(files=30, size=100_000, depth=6)
    async with catalogue(tmp_path / "home", limits=limits) as running:
        yield running


@pytest.fixture
async def me(yard: Catalogue) -> Caller:
    return await yard.admin()


def body(source: str, **more: object) -> dict[str, object]:
    return {
        "model_name": "flowers",
        "model_version": "0.0.1",
        "model_type": "pytorch",
        "source_location": source,
    } | more


async def test_import_and_show(yard: Catalogue, me: Caller) -> None:
    source = yard.package("bucket/flowers")
    yard.write("bucket/flowers/model/inner/labels.txt", "rose\n")
    yard.write("bucket/flowers/not-part-of-it.txt", "x")
    yard.write("bucket/flowers/model2/other", "x")
    model_id = await me.import_model(**body(source, description="pretty"))
    model = await me.settled(model_id)
    assert model["model_status"] == "published", model["failed_reason"]
    assert model["model_type"] == "PyTorch"
    assert model["install_type"] == ["real-time", "batch"]
    assert model["owner"] == me.user_id
    assert model["project"] == me.project_id
    assert json.loads(model["config"]) == CONFIG
    assert json.loads(model["model_metrics"]) == {"f1": 0.9, "accuracy": 0.8}
    assert json.loads(model["apis"])[0]["input_params"]["properties"] == {"photo": {"type": "file"}}
    param = model["input_params"][0]
    assert (param["param_name"], param["param_type"]) == ("photo", "file")
    assert json.loads(param["param_desc"]) == {"type": "file"}
    folder = yard.settings.layout.packages_dir / me.project_id / model_id
    files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert files == [
        "model/config.json",
        "model/customize_service.py",
        "model/inner/labels.txt",
        "model/weights.pth",
    ]
    assert model["model_size"] == sum((folder / name).stat().st_size for name in files)
    events = (await me.call("GET", me.url(f"/{model_id}/events?order=asc"))).json()
    texts = [event["event_info"] for event in events["events"]]
    assert texts[0] == "[flowers 0.0.1] import started"
    assert texts[-1] == "[flowers 0.0.1] imported"
    assert {event["event_type"] for event in events["events"]} == {"normal"}
    assert not list(folder.parent.glob(".import-*"))


@pytest.mark.parametrize(
    "form", ["obs://{}/", "s3://{}", "/{}/", "https://{1}.obs.example.com/{2}"]
)
async def test_every_form_of_source(yard: Catalogue, me: Caller, form: str) -> None:
    yard.package("bucket/flowers")
    source = form.format("bucket/flowers", "bucket", "flowers")
    model = await me.settled(await me.import_model(**body(source)))
    assert model["model_status"] == "published", model["failed_reason"]


async def test_the_create_call_wins_over_the_package(yard: Catalogue, me: Caller) -> None:
    source = yard.package("bucket/flowers", runtime="python3.6")
    yard.write("bucket/code/customize_service.py", "mine = 1\n")
    model_id = await me.import_model(
        **body(
            source,
            runtime="python3.7",
            model_algorithm="predict_analysis",
            execution_code="obs://bucket/code/",
            install_type="batch",
            dependencies=json.dumps(
                [{"installer": "pip", "packages": [{"package_name": "httpx"}]}]
            ),
            input_params=[
                {
                    **{"url": "/", "protocol": "http", "method": "post"},
                    **{"param_name": "x", "param_type": "int", "param_desc": "a number"},
                }
            ],
            model_metrics='{"f1": 0.5}',
            initial_config=json.dumps(CONFIG | {"model_algorithm": "object_detection"}),
        )
    )
    model = await me.settled(model_id)
    assert model["model_status"] == "published", model["failed_reason"]
    assert model["runtime"] == "python3.7"
    assert model["model_algorithm"] == "predict_analysis"
    assert model["install_type"] == ["batch"]
    assert json.loads(model["model_metrics"]) == {"f1": 0.5}
    assert model["dependencies"][0]["packages"] == [{"package_name": "httpx"}]
    schema = json.loads(model["input_params"][0]["param_desc"])
    assert schema == {"type": "int", "description": "a number"}
    assert json.loads(model["config"])["model_algorithm"] == "object_detection"
    folder = yard.settings.layout.packages_dir / me.project_id / model_id / "model"
    assert (folder / "customize_service.py").read_text() == "mine = 1\n"
    assert json.loads((folder / "config.json").read_text())["model_algorithm"] == "object_detection"
    events = (await me.call("GET", me.url(f"/{model_id}/events?event_info=warning"))).json()
    told = " ".join(event["event_info"] for event in events["events"])
    assert "python3.7 is served by" in told


async def test_a_scikit_learn_package_needs_no_script(yard: Catalogue, me: Caller) -> None:
    yard.write("bucket/iris/model/config.json", CONFIG | {"model_type": "Scikit_Learn"})
    yard.write("bucket/iris/model/model.pkl", b"x")
    model_id = await me.import_model(**body("/bucket/iris", model_type="scikit_learn"))
    assert (await me.settled(model_id))["model_status"] == "published"


def _no_bucket(yard: Catalogue) -> None: ...


def _no_model_folder(yard: Catalogue) -> None:
    yard.write("bucket/bad/config.json", CONFIG)


def _nested(yard: Catalogue) -> None:
    yard.package("bucket/bad/deeper")


def _no_config(yard: Catalogue) -> None:
    yard.write("bucket/bad/model/customize_service.py", "")


def _no_script(yard: Catalogue) -> None:
    yard.write("bucket/bad/model/config.json", CONFIG)


def _broken_json(yard: Catalogue) -> None:
    yard.package("bucket/bad")
    yard.write("bucket/bad/model/config.json", '{"model_type": "PyTorch",\n "a" }')


def _not_utf8(yard: Catalogue) -> None:
    yard.package("bucket/bad")
    yard.write("bucket/bad/model/config.json", b'{"model_type":\n"\xff"}')


def _bad_key(yard: Catalogue) -> None:
    yard.package("bucket/bad", metrics={"f1": "good"}, dependencies=[{"installer": "conda"}])


def _other_type(yard: Catalogue) -> None:
    yard.package("bucket/bad", model_type="TensorFlow")


def _image(yard: Catalogue) -> None:
    yard.package("bucket/bad", swr_location="x/y:1")


def _link_to_file(yard: Catalogue) -> None:
    yard.package("bucket/bad")
    (Path(yard.settings.objects) / "bucket/bad/model/key").symlink_to("/etc/hostname")


def _link_to_folder(yard: Catalogue) -> None:
    yard.package("bucket/bad")
    (Path(yard.settings.objects) / "bucket/bad/model/etc").symlink_to("/etc")


def _linked_folder_above(yard: Catalogue) -> None:
    yard.package("elsewhere/good")
    (Path(yard.settings.objects) / "bucket").mkdir(parents=True)
    good = Path(yard.settings.objects) / "elsewhere/good"
    (Path(yard.settings.objects) / "bucket/bad").symlink_to(good)


def _pipe(yard: Catalogue) -> None:
    yard.package("bucket/bad")
    os.mkfifo(Path(yard.settings.objects) / "bucket/bad/model/pipe")


def _newline(yard: Catalogue) -> None:
    yard.package("bucket/bad")
    yard.write("bucket/bad/model/a\nb", "x")


def _case(yard: Catalogue) -> None:
    yard.package("bucket/bad")
    yard.write("bucket/bad/model/Readme", "x")
    yard.write("bucket/bad/model/README", "x")


def _too_many(yard: Catalogue) -> None:
    yard.package("bucket/bad")
    for number in range(40):
        yard.write(f"bucket/bad/model/f{number}", "x")


def _too_large(yard: Catalogue) -> None:
    yard.package("bucket/bad")
    target = yard.write("bucket/bad/model/hole", "")
    os.truncate(target, 10**12)


def _too_deep(yard: Catalogue) -> None:
    yard.package("bucket/bad")
    yard.write("bucket/bad/model/a/b/c/d/e/f/g", "x")


BAD = [
    (_no_bucket, ("source_location", "does not exist", "3551")),
    (_no_model_folder, ("source_location", "model/ itself", "3017")),
    (_nested, ("source_location", "'deeper'", "3017")),
    (_no_config, ("model/config.json is missing", "3017")),
    (_no_script, ("model/customize_service.py is missing", "3017")),
    (_broken_json, ("config.json", "line 2, column", "3015")),
    (_not_utf8, ("config.json", "not UTF-8", "line 2", "3015")),
    (_bad_key, ("config.json.metrics.f1", "config.json.dependencies[0].installer", "3041")),
    (_other_type, ("model_type", "TensorFlow", "PyTorch")),
    (_image, ("config.json.swr_location", "for images only", "3016")),
    (_link_to_file, ("'key'", "symbolic link", "3017")),
    (_link_to_folder, ("'etc'", "symbolic link", "3017")),
    (_linked_folder_above, ("source_location", "3551")),
    (_pipe, ("'pipe'", "not a plain file")),
    (_newline, ("control character", "3017")),
    (_case, ("Readme", "README", "case")),
    (_too_many, ("more than 30 files",)),
    (_too_large, ("larger than", "3044")),
    (_too_deep, ("folders deep",)),
]


@pytest.mark.parametrize(("spoil", "said"), BAD, ids=[spoil.__name__ for spoil, _ in BAD])
async def test_bad_packages_fail_with_the_reason(
    yard: Catalogue, me: Caller, spoil: Callable[[Catalogue], None], said: tuple[str, ...]
) -> None:
    spoil(yard)
    model_id = await me.import_model(**body("obs://bucket/bad/"))
    model = await me.settled(model_id)
    assert model["model_status"] == "failed"
    for words in said:
        assert words in model["failed_reason"]
    events = (await me.call("GET", me.url(f"/{model_id}/events?event_type=abnormal"))).json()
    assert events["count"] == 1
    assert model["failed_reason"] in events["events"][0]["event_info"]
    project = yard.settings.layout.packages_dir / me.project_id
    assert not project.exists() or not list(project.iterdir())


async def test_without_a_container_engine_an_image_says_so(yard: Catalogue, me: Caller) -> None:
    image = {"model_type": "Image", "source_location": "localhost/poems:1"}
    model = await me.settled(await me.import_model(**body("", **image)))
    assert model["model_status"] == "failed"
    assert model["image_address"] == ""
    assert "no container engine" in model["failed_reason"]
    events = (await me.call("GET", me.url(f"/{model['model_id']}/events"))).json()["events"]
    assert events[0]["event_type"] == "abnormal"


async def test_an_image_package_without_an_address_says_so(yard: Catalogue, me: Caller) -> None:
    yard.write("bucket/poems/model/config.json", {"model_type": "Image", "model_algorithm": "p"})
    image = body("obs://bucket/poems/", model_type="Image")
    model = await me.settled(await me.import_model(**image))
    assert "config.json.swr_location: is missing" in model["failed_reason"]


REFUSED: list[tuple[dict[str, object], str, str]] = [
    ({"model_version": None}, "model_version", "3036"),
    ({"model_version": "01.0.1"}, "model_version", "3037"),
    ({"model_version": "1.0"}, "model_version", "3037"),
    ({"model_version": "1.0.100"}, "model_version", "3037"),
    ({"model_version": 1}, "model_version", "3037"),
    ({"model_name": "a b"}, "model_name", "3037"),
    ({"model_name": "x" * 65}, "model_name", "3037"),
    ({"model_name": {"a": 1}}, "model_name", "3037"),
    ({"model_name": "a\u0000"}, "model_name", "3037"),
    ({"model_type": None}, "model_type", "3036"),
    ({"model_type": "Fortran"}, "model_type", "3037"),
    ({"model_type": "Image", "source_location": "a b"}, "source_location", "3037"),
    ({"model_type": "Image", "source_location": "A/B:1"}, "source_location", "3037"),
    ({"model_type": "Image", "source_location": "obs://b/a b/"}, "source_location", "3572"),
    ({"model_type": "Image", "source_location": "a/b", "port": 0}, "port", "3037"),
    ({"model_type": "Image", "source_location": "a/b", "cmd": "sh 'x"}, "cmd", "3037"),
    ({"model_type": "Image", "source_location": "a/b", "source_copy": "x"}, "source_copy", "3037"),
    (
        {"model_type": "Image", "source_location": "a/b", "health": {"period_seconds": "0"}},
        "health.period_seconds",
        "3592",
    ),
    (
        {
            "model_type": "Image",
            "source_location": "a/b",
            "startup_health": {"check_method": "EXEC"},
        },
        "startup_health.command",
        "3592",
    ),
    (
        {"model_type": "Image", "source_location": "a/b", "execution_code": "obs://b/x.py"},
        "execution_code",
        "3037",
    ),
    ({"health": {"url": "/health"}}, "health", "3037"),
    ({"port": 8080}, "port", "3037"),
    ({"model_type": "Template"}, "model_type", "3037"),
    ({"model_type": "Custom", "runtime": "no image"}, "runtime", "3037"),
    ({"source_location": None}, "source_location", "3036"),
    ({"source_location": "obs://b/a b/"}, "source_location", "3572"),
    ({"source_location": "obs://bucket/../x"}, "source_location", "3572"),
    ({"source_location": "obs:///x"}, "source_location", "3573"),
    ({"source_location": "file:///etc"}, "source_location", "3572"),
    ({"source_location": "https://bucket.obs.example.com/%2e%2e/x"}, "source_location", "3572"),
    ({"description": "x" * 101}, "description", "3037"),
    ({"description": "a<b"}, "description", "3037"),
    ({"template": {"template_id": "1"}}, "template", "3037"),
    ({"cmd": "sh"}, "cmd", "3037"),
    ({"source_copy": "false"}, "source_copy", "3037"),
    ({"surprise": 1}, "surprise", "3037"),
    ({"initial_config": "{"}, "initial_config", "3015"),
    ({"initial_config": '{"model_type": "PyTorch"}'}, "initial_config.model_algorithm", "3015"),
    ({"dependencies": "[{"}, "dependencies", "3037"),
    ({"dependencies": [{"installer": "yum"}]}, "dependencies[0].installer", "3041"),
    (
        {"dependencies": [{"packages": [{"package_name": "--index-url=http://x"}]}]},
        "dependencies[0].packages[0].package_name",
        "3041",
    ),
    ({"apis": [{"url": "/predict"}]}, "apis[0].url", "3016"),
    ({"apis": {"url": "/"}}, "apis", "3015"),
    ({"input_params": [{"url": "/"}]}, "input_params[0].protocol", "3036"),
    ({"install_type": ["edge"]}, "install_type[0]", "3037"),
    ({"install_type": 7}, "install_type", "3037"),
    ({"model_docs": [{"doc_name": "1", "doc_url": "x"}]}, "model_docs[0].doc_name", "3037"),
    ({"model_docs": [{}] * 4}, "model_docs", "3037"),
    ({"model_metrics": {"f1": "x"}}, "model_metrics.f1", "3015"),
    ({"source_type": "manual"}, "source_type", "3037"),
    ({"workspace_id": "7"}, "workspace_id", "0102"),
    ({"runtime": "a b"}, "runtime", "3037"),
    ({"execution_code": "nowhere"}, "execution_code", "3572"),
]


@pytest.mark.parametrize(("change", "field", "code"), REFUSED)
async def test_bad_bodies_are_refused_by_name(
    yard: Catalogue, me: Caller, change: dict[str, object], field: str, code: str
) -> None:
    response = await me.call("POST", me.url(), json=body("obs://bucket/x/", **change))
    answer = response.json()
    assert response.status_code == 400, answer
    assert answer["error_code"] == f"ModelArts.{code}"
    assert field in answer["error_msg"]
    assert (await me.call("GET", me.url())).json()["total_count"] == 0


async def test_all_problems_are_told_at_once(me: Caller) -> None:
    response = await me.call("POST", me.url(), json={"model_name": "?", "extra": 1})
    fields = {problem["field"] for problem in response.json()["problems"]}
    assert fields == {"model_name", "extra", "model_version", "source_location", "model_type"}


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"3", b"{", b"[" * 100_000, b'{"a": NaN}', b"\xff"]
)
async def test_bodies_that_are_no_object(me: Caller, content: bytes) -> None:
    response = await me.http.post(
        me.url(),
        content=content,
        headers={"X-Auth-Token": me.token, "Content-Type": "application/json"},
    )
    assert response.status_code == 400, response.text
    assert response.json()["error_code"].startswith("ModelArts.")


async def test_a_version_exists_once(yard: Catalogue, me: Caller) -> None:
    source = yard.package("bucket/flowers")
    answers = await asyncio.gather(
        *(me.call("POST", me.url(), json=body(source)) for _ in range(5))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert refused.json()["error_code"] == "ModelArts.3002"


async def test_a_name_is_made_when_none_is_given(yard: Catalogue, me: Caller) -> None:
    model_id = await me.import_model(**body(yard.package("bucket/x"), model_name=""))
    assert (await me.settled(model_id))["model_name"].startswith("model-")


async def _several(yard: Catalogue, me: Caller) -> list[str]:
    source = yard.package("bucket/flowers")
    ids = []
    for name, version in (
        ("a_b", "0.0.2"),
        ("a_b", "0.0.10"),
        ("axb", "1.0.0"),
        ("other", "0.9.0"),
    ):
        more = {"model_name": name, "model_version": version, "description": f"about {name}"}
        ids.append(await me.import_model(**body(source, **more)))
    for model_id in ids:
        await me.settled(model_id)
    return ids


async def test_list(yard: Catalogue, me: Caller) -> None:
    a1, a2, x, o = await _several(yard, me)

    async def ids(query: str) -> list[str]:
        response = await me.call("GET", me.url(f"?{query}"))
        assert response.status_code == 200, response.text
        found = response.json()
        assert found["count"] == len(found["models"])
        return [model["model_id"] for model in found["models"]]

    assert set(await ids("")) == {a1, a2, x, o}
    assert set(await ids("model_name=A_B")) == {a1, a2}
    assert set(await ids("model_name=a")) == {a1, a2, x}
    assert await ids("model_name=a&exact_match=true") == []
    assert set(await ids("model_name=a_b&exact_match=true")) == {a1, a2}
    assert await ids("model_version=1.0.0") == [x]
    assert await ids("description=other") == [o]
    assert await ids("model_status=failed") == []
    assert len(await ids("model_status=published&workspace_id=0")) == 4
    assert await ids("workspace_id=9") == []
    assert len(await ids("model_type=PYTORCH")) == 4
    assert await ids("not_model_type=pytorch") == []
    assert await ids("sort_by=model_version&order=asc") == [a1, a2, o, x]
    assert await ids("sort_by=model_version&order=desc&offset=1&limit=2") == [o, a2]
    assert await ids("offset=10") == []
    page = (await me.call("GET", me.url("?limit=1"))).json()
    assert (page["total_count"], page["count"]) == (4, 1)
    item = page["models"][0]
    assert "apis" not in item
    assert item["specification"] == {"min_cpu": "1", "min_gpu": "0", "min_memory": "1024"}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("order=up", "order"),
        ("sort_by=name", "sort_by"),
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("offset=-1", "offset"),
        ("model_status=happy", "model_status"),
        ("exact_match=perhaps", "exact_match"),
        ("model_type=PyTorch&not_model_type=Image", "not_model_type"),
    ],
)
async def test_bad_queries_are_refused_by_name(me: Caller, query: str, field: str) -> None:
    response = await me.call("GET", me.url(f"?{query}"))
    assert response.status_code == 400
    assert field in response.json()["error_msg"]


async def test_what_the_doctor_reads_is_kept_with_the_model(yard: Catalogue, me: Caller) -> None:
    source = yard.package("bucket/sick", runtime="python3.6", tunable=True)
    yard.write("bucket/sick/model/json.py", "raise SystemExit('never run me')\n")
    model = await me.settled(await me.import_model(**body(source)))
    assert model["model_status"] == "published"
    found = {one["kind"]: one for one in model["findings"]}
    assert list(found) == ["class", "typo", "shadow", "runtime", "unknown-key"]
    assert found["typo"] == {
        "kind": "typo",
        "level": "warning",
        "where": "model/config.json: apis[0].procotol",
        "says": "'procotol' is misspelt",
        "fix": "It is read as meant; write 'protocol'.",
    }


async def test_a_doctor_that_fails_keeps_no_package_from_being_published(
    yard: Catalogue, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RecursionError("too clever a package")

    monkeypatch.setattr("modelyard.packages.importing.fetching.examine", broken)
    model = await me.settled(await me.import_model(**body(yard.package("bucket/clever"))))
    assert (model["model_status"], model["findings"]) == ("published", [])


async def test_runtimes(me: Caller) -> None:
    found = (await me.call("GET", me.url("/ai-engine-runtimes?limit=2&offset=1"))).json()
    assert (found["count"], found["total_count"]) == (2, 12)
    for engine in found["engine_runtimes"]:
        lengths = {len(value) for value in engine.values() if isinstance(value, list)}
        assert len(lengths) == 1


async def test_delete(yard: Catalogue, me: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    a1, a2, x, o = await _several(yard, me)
    used = {x: ["my-service"]}

    async def uses(_session: object, model_id: str) -> list[str]:
        return used.get(model_id, [])

    monkeypatch.setattr("modelyard.api.routes.models.delete.uses_of_model", uses)
    unknown = "00000000-0000-4000-8000-000000000000"
    response = await me.call("DELETE", me.url(f"/{o},{x},{unknown}"))
    answer = response.json()
    assert response.status_code == 200
    assert answer["delete_success_list"] == [o]
    failures = {item["model_id"]: item for item in answer["delete_failed_list"]}
    assert failures[x]["error_code"] == "ModelArts.3009"
    assert "my-service" in failures[x]["error_msg"]
    assert failures[unknown]["error_code"] == "ModelArts.3001"
    cascade = (await me.call("DELETE", me.url(f"/{a2}?cascade=true"))).json()
    assert set(cascade["delete_success_list"]) == {a1, a2}
    assert (await me.call("GET", me.url(f"/{a1}"))).status_code == 404
    packages = yard.settings.layout.packages_dir / me.project_id
    assert [folder.name for folder in packages.iterdir()] == [x]
    gone = await me.call("DELETE", me.url(f"/{a1}"))
    assert (gone.status_code, gone.json()["error_code"]) == (404, "ModelArts.3001")


async def test_delete_one_version_only(yard: Catalogue, me: Caller) -> None:
    a1, a2, *_ = await _several(yard, me)
    assert (await me.call("DELETE", me.url(f"/{a1}"))).json() == {
        "delete_success_list": [a1],
        "delete_failed_list": [],
    }
    assert (await me.call("GET", me.url(f"/{a2}"))).status_code == 200


async def test_projects_never_see_each_others_models(yard: Catalogue, me: Caller) -> None:
    ann = await yard.newcomer("ann")
    model_id = await me.import_model(**body(yard.package("bucket/flowers")))
    await me.settled(model_id)
    unknown = "00000000-0000-4000-8000-000000000000"
    for method, tail in (("GET", ""), ("DELETE", ""), ("GET", "/events")):
        foreign = await ann.call(method, ann.url(f"/{model_id}{tail}"))
        nothing = await ann.call(method, ann.url(f"/{unknown}{tail}"))
        assert foreign.status_code == nothing.status_code == 404
        assert foreign.text.replace(model_id, "X") == nothing.text.replace(unknown, "X")
    listed = await ann.call("DELETE", ann.url(f"/{model_id},{unknown}?cascade=true"))
    assert listed.status_code == 200
    assert listed.json()["delete_success_list"] == []
    assert (await ann.call("GET", ann.url())).json()["total_count"] == 0
    assert (await me.call("GET", me.url(f"/{model_id}"))).status_code == 200
    # The same name and version is free in the other project.
    await ann.import_model(**body("obs://bucket/flowers/"))
    for method, tail in (
        ("GET", ""),
        ("POST", ""),
        ("GET", "/ai-engine-runtimes"),
        ("GET", f"/{model_id}"),
        ("DELETE", f"/{model_id}"),
        ("GET", f"/{model_id}/events"),
    ):
        crossed = await ann.call(method, me.url(tail))
        assert crossed.status_code == 403, (method, tail)
        assert crossed.json()["error_code"] == "ModelArts.0210"
        anonymous = await ann.http.request(method, me.url(tail))
        assert anonymous.status_code == 401


@pytest.mark.parametrize("odd", ["%00", "..%2f..", "x" * 5000, "%F0%9F%8C%B9", "a;b", "'"])
async def test_odd_ids_are_unknown(me: Caller, odd: str) -> None:
    for method in ("GET", "DELETE"):
        response = await me.call(method, me.url(f"/{odd}"))
        assert response.status_code == 404, response.text


async def test_an_unfinished_import_is_taken_up_again(
    yard: Catalogue, me: Caller, tmp_path: Path
) -> None:
    model_id = await me.import_model(**body(yard.package("bucket/flowers")))
    await me.settled(model_id)
    # As a crash leaves it: still publishing, something half copied, a package of nobody's.
    async with yard.database.write(Step.TEST) as session:
        await session.execute(update(Model).values(status="publishing", package_dir=""))
    project = yard.settings.layout.packages_dir / me.project_id
    (project / ".import-x" / "model").mkdir(parents=True)
    (project / "deleted-model").mkdir()
    later = ModelImporter(
        yard.settings.layout.packages_dir,
        yard.database,
        SystemClock(),
        Objects(yard.settings.objects),
        Environments(yard.settings.packages, yard.settings.layout, SystemClock(), yard.database),
    )
    await later.start()
    try:
        assert (await me.settled(model_id))["model_status"] == "published"
    finally:
        await later.stop()
    assert [folder.name for folder in project.iterdir()] == [model_id]


async def test_deleting_ends_the_import(
    yard: Catalogue, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()
    original = Objects.copy_tree

    async def slow(self: Objects, *arguments: Any) -> Any:
        reached.set()
        await go_on.wait()
        return await original(self, *arguments)

    monkeypatch.setattr(Objects, "copy_tree", slow)
    model_id = await me.import_model(**body(yard.package("bucket/flowers")))
    await asyncio.wait_for(reached.wait(), 10)
    deleted = (await me.call("DELETE", me.url(f"/{model_id}"))).json()
    assert deleted["delete_success_list"] == [model_id]
    project = yard.settings.layout.packages_dir / me.project_id
    assert not project.exists() or not list(project.iterdir())


async def test_a_full_disk_is_a_reason(
    yard: Catalogue, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Objects, "copy_tree", full)
    model = await me.settled(await me.import_model(**body(yard.package("bucket/flowers"))))
    assert model["model_status"] == "failed"
    assert "No space left on device" in model["failed_reason"]
