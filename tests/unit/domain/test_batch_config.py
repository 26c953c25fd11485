"""What a batch service may be asked to do: every field, alone and with the others (§2)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.batch.rules import ObjectRules
from modelyard.domain.admission.patch import as_body, patch_config
from modelyard.domain.admission.requests import Facts, ModelFacts, Present
from modelyard.domain.admission.service_body import read_create, read_update
from modelyard.domain.service.batch_job import BATCH_FIELDS, ApiFacts, BatchJob
from modelyard.domain.service.config import VersionConfig

Json = dict[str, Any]

ROW_SCHEMA: Json = {
    "type": "object",
    "properties": {"age": {"type": "integer"}, "name": {"type": "string"}},
}
PHOTO_SCHEMA: Json = {"type": "object", "properties": {"photo": {"type": "file"}}}
TWO_SCHEMA: Json = {
    "type": "object",
    "properties": {"photo": {"type": "file"}, "size": {"type": "integer"}},
}
RULE: Json = {
    "type": "object",
    "properties": {"age": {"type": "integer", "index": 1}, "name": {"type": "string", "index": 0}},
}
JSON, FORM = "application/json", "multipart/form-data"
BOTH = ("real-time", "batch")


def model(name: str, *apis: ApiFacts, install: tuple[str, ...] = BOTH) -> ModelFacts:
    return ModelFacts(name, name, "0.0.1", "published", install, apis)


MODELS = (
    model("rows", ApiFacts("/", "post", JSON, ROW_SCHEMA)),
    model("photos", ApiFacts("/", "post", FORM, PHOTO_SCHEMA)),
    model("two", ApiFacts("/", "post", FORM, TWO_SCHEMA)),
    model("bare", ApiFacts("/", "post", JSON, {})),
    model("online", ApiFacts("/", "post", JSON, ROW_SCHEMA), install=("real-time",)),
    model(
        "image",
        ApiFacts("/score", "post", "application/json; charset=utf-8", ROW_SCHEMA),
        ApiFacts("/look", "post", FORM, PHOTO_SCHEMA),
        ApiFacts("/state", "get", JSON, ROW_SCHEMA),
    ),
)
FACTS = Facts(models={one.model_id: one for one in MODELS}, batch=ObjectRules())

CSV: Json = {
    "model_id": "rows",
    "specification": "modelarts.vm.cpu.2u",
    "instance_count": 1,
    "src_path": "obs://inbox/people/",
    "dest_path": "obs://outbox/res/",
    "req_uri": "/",
    "mapping_type": "csv",
    "mapping_rule": RULE,
}
FILES: Json = {
    "model_id": "photos",
    "mapping_type": "file",
    "mapping_rule": None,
}


def body(*items: Json, **more: Any) -> Json:
    return {"service_name": "nightly", "infer_type": "batch", "config": list(items)} | more


def job(**changes: Any) -> BatchJob:
    wish, problems = read_create(body(CSV | changes), FACTS)
    assert wish is not None, problems
    found = wish.config[0].batch
    assert found is not None
    return found


def test_a_csv_service() -> None:
    wish, problems = read_create(body(CSV), FACTS)
    assert wish is not None, problems
    assert wish.infer_type == "batch"
    [version] = wish.config
    assert version.weight == 100
    assert version.batch == BatchJob(
        "obs://inbox/people/", "obs://outbox/res/", "/", "csv", RULE, "", JSON, ""
    )
    assert VersionConfig.from_json(version.to_json()) == version


def test_a_file_service_takes_the_field_from_the_api() -> None:
    found = job(**FILES)
    assert (found.content_type, found.field) == (FORM, "photo")
    assert found.mapping_rule is None


@pytest.mark.parametrize(
    "path",
    [
        "obs://inbox/people/",
        "obs://inbox/people",
        "s3://inbox/people/",
        "/inbox/people",
        "https://inbox.store.example/people/",
        "https://inbox.store.example:443/people",
        "https://inbox.store.example/people/?AccessKeyId=a&Expires=1&Signature=b%3D",
    ],
)
def test_every_form_of_a_path_comes_to_the_same(path: str) -> None:
    assert job(src_path=path).src_path == "obs://inbox/people/"
    assert job(dest_path=path, src_path="obs://other/").dest_path == "obs://inbox/people/"


@pytest.mark.parametrize("src_type", ["", None])
def test_a_blank_src_type_reads_the_folder(src_type: str | None) -> None:
    assert job(src_type=src_type).src_type == ""


def test_a_manifest_is_one_file() -> None:
    found = job(src_type="ManifestFile", src_path="s3://inbox/lists/today.manifest")
    assert (found.src_type, found.src_path) == ("ManifestFile", "obs://inbox/lists/today.manifest")
    # Nothing of the destination is listed as input.
    job(src_type="ManifestFile", src_path="/outbox/res/today.manifest")


def test_an_image_has_several_apis() -> None:
    assert job(model_id="image", req_uri="/score").req_uri == "/score"
    assert job(**FILES | {"model_id": "image", "req_uri": "/look"}).field == "photo"


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"src_path": None}, "src_path", "3610"),
        ({"src_path": " "}, "src_path", "3610"),
        ({"src_path": 7}, "src_path", "3037"),
        ({"src_path": "ftp://inbox/people/"}, "src_path", "3572"),
        ({"src_path": "people"}, "src_path", "3572"),
        ({"src_path": "obs:///people"}, "src_path", "3573"),
        ({"src_path": "obs://inbox/../people"}, "src_path", "3572"),
        ({"dest_path": None}, "dest_path", "3610"),
        ({"dest_path": "obs://UPPER/x"}, "dest_path", "3572"),
        ({"dest_path": "obs://inbox/people/"}, "dest_path", "3572"),
        ({"dest_path": "obs://inbox/people/out"}, "dest_path", "3572"),
        ({"dest_path": "/inbox/people/out/", "src_path": "s3://inbox"}, "dest_path", "3572"),
        ({"req_uri": None}, "req_uri", "3610"),
        ({"req_uri": "/predict"}, "req_uri", "3037"),
        ({"model_id": "image", "req_uri": "/state"}, "req_uri", "3037"),
        ({"model_id": "bare"}, "req_uri", "3514"),
        ({"mapping_type": None}, "mapping_type", "3610"),
        ({"mapping_type": "json"}, "mapping_type", "3037"),
        ({"mapping_type": "file"}, "mapping_type", "3037"),
        (FILES | {"model_id": "two"}, "mapping_type", "3037"),
        ({"model_id": "photos"}, "mapping_type", "3037"),
        ({"mapping_rule": None}, "mapping_rule", "3610"),
        ({"mapping_rule": []}, "mapping_rule", "3037"),
        ({"mapping_rule": {"type": "object"}}, "mapping_rule", "3037"),
        (
            {
                "mapping_rule": {
                    "type": "object",
                    "properties": {"other": {"type": "string", "index": 0}},
                }
            },
            "mapping_rule",
            "3037",
        ),
        ({"src_type": "Folder"}, "src_type", "3037"),
        ({"src_type": "ManifestFile"}, "src_path", "3572"),
        ({"model_id": "online"}, "model_id", "3589"),
        ({"model_id": "unknown"}, "model_id", "3507"),
        ({"instance_count": 0}, "instance_count", "3037"),
    ],
)
def test_what_is_refused_names_its_field(changes: Json, field: str, code: str) -> None:
    wish, problems = read_create(body(CSV | changes), FACTS)
    assert wish is None
    assert (problems[0].field, problems[0].code) == (f"config[0].{field}", code)
    assert all(problem.remedy or problem.code == "3037" for problem in problems)


def test_all_problems_are_told_at_once() -> None:
    bad = CSV | {"src_path": "x", "dest_path": None, "req_uri": "/no", "mapping_type": "x"}
    _, problems = read_create(body(bad), FACTS)
    names = [problem.field.removeprefix("config[0].") for problem in problems]
    assert names == ["src_path", "dest_path", "mapping_type", "req_uri"]


def test_there_is_exactly_one_version() -> None:
    _, problems = read_create(body(CSV, CSV), FACTS)
    assert [p.field for p in problems] == ["config"]
    assert read_create(body(), FACTS)[1][0].code == "3610"


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"schedule": [{"type": "stop", "time_unit": "HOURS", "duration": 1}]}, "schedule"),
        ({"load_balancer_policy": "ROUND_ROBIN"}, "load_balancer_policy"),
        (
            {"additional_properties": {"rollout": {"keep_former_seconds": 60}}},
            "additional_properties.rollout",
        ),
        (
            {"additional_properties": {"websocket_upgrade": True}},
            "additional_properties.websocket_upgrade",
        ),
    ],
)
def test_what_only_traffic_needs_is_refused(more: Json, field: str) -> None:
    _, problems = read_create(body(CSV, **more), FACTS)
    assert field in [problem.field for problem in problems]
    facts = replace(FACTS, present=Present(infer_type="batch"))
    assert field in [problem.field for problem in read_update(more, facts)[1]]


def test_no_schedule_is_no_schedule() -> None:
    assert read_create(body(CSV, schedule=[]), FACTS)[0] is not None


def test_a_weight_is_ignored_as_batch_keys_are_in_real_time() -> None:
    assert read_create(body(CSV | {"weight": "nonsense"}), FACTS)[0] is not None
    real_time = body(CSV | {"weight": 100, "src_path": 7}, infer_type="real-time")
    wish, _ = read_create(real_time, FACTS)
    assert wish is not None
    assert wish.config[0].batch is None


def test_an_update_is_read_as_the_service_is() -> None:
    facts = replace(FACTS, present=Present(infer_type="batch"))
    wish, problems = read_update({"config": [CSV | {"instance_count": 2}]}, facts)
    assert wish is not None, problems
    assert wish.config is not None
    assert wish.config[0].batch == job()
    assert read_update({"config": [CSV | {"src_path": None}]}, facts)[0] is None


def test_a_patch_reaches_the_batch_fields_of_batch_services_only() -> None:
    wish, _ = read_create(body(CSV), FACTS)
    assert wish is not None
    operation = {"op": "replace", "path": "/config/0/src_path", "value": "obs://inbox/more/"}
    changed, problems = patch_config([as_body(wish.config[0])], [operation])
    assert not problems
    assert changed[0]["src_path"] == "obs://inbox/more/"
    real_time = {key: value for key, value in changed[0].items() if key not in CSV} | {"weight": 1}
    assert patch_config([real_time], [operation])[1]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "properties", "items", "index", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(BATCH_FIELDS), json_values)
def test_whatever_is_sent_is_accepted_or_refused_by_name(field: str, value: object) -> None:
    wish, problems = read_create(body(CSV | {field: value}), FACTS)
    assert (wish is None) == bool(problems)
    assert all(problem.field.startswith("config[0].") for problem in problems)


def test_instances_do_not_depend_on_what_they_compute() -> None:
    one, other = (
        read_create(body(CSV | {"src_path": f"obs://inbox/{n}/"}), FACTS)[0] for n in (1, 2)
    )
    assert one is not None
    assert other is not None
    assert one.config[0].fingerprint == other.config[0].fingerprint
