"""Commands against a server that answers like the platform."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from standin import SERVICE_ID, StandIn

Run = Callable[..., Any]


def test_token_is_printed_alone(modelyard: Run) -> None:
    ran = modelyard("token")
    assert (ran.code, ran.out, ran.err) == (0, "token-1\n", "")


def test_an_expired_token_is_renewed_once(modelyard: Run, standin: StandIn) -> None:
    standin.expired.add("token-1")
    assert modelyard("service", "list").code == 0
    assert standin.tokens == 2


def test_lists_follow_the_pages(modelyard: Run) -> None:
    listed = json.loads(modelyard("service", "list", "--json").out)
    assert [service["service_name"] for service in listed["services"]] == [
        "a", "b", "iris", "c", "d",
    ]  # fmt: skip


def test_a_service_is_found_by_name_or_id(modelyard: Run) -> None:
    for name in ("iris", SERVICE_ID):
        ran = modelyard("service", "show", name, "--json")
        assert ran.code == 0, ran.err
        shown = json.loads(ran.out)
        assert shown["service_id"] == SERVICE_ID


def test_an_unknown_service_is_one_line_and_exit_code_1(modelyard: Run) -> None:
    ran = modelyard("service", "show", "nobody")
    assert ran.code == 1
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert "There is no service 'nobody'" in ran.err
    assert "modelyard service list" in ran.err


def test_wrong_credentials_name_their_source(modelyard: Run, tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(file.read_text().replace("right", "wrong"))
    ran = modelyard("service", "list")
    assert ran.code == 1
    assert "The username or password is wrong." in ran.err
    assert str(file) in ran.err


def test_a_dead_platform_says_how_to_start_it(modelyard: Run, tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    document = json.loads(file.read_text())
    file.write_text(json.dumps({**document, "auth_url": "http://127.0.0.1:9/v3"}))
    ran = modelyard("service", "list")
    assert ran.code == 1
    assert "modelyard up" in ran.err


def test_create_waits_and_shows_status_and_event_on_stderr(
    modelyard: Run, standin: StandIn
) -> None:
    config = '[{"model_id": "m1", "weight": 100}]'
    ran = modelyard("service", "create", "iris", "--config", config, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["status"] == "running"
    assert "deploying · starting model" in ran.err
    body = next(entry[2] for entry in standin.seen if entry[0] == "POST")
    assert json.loads(body) == {
        "service_name": "iris",
        "infer_type": "real-time",
        "config": [{"model_id": "m1", "weight": 100}],
    }


def test_create_without_waiting_prints_the_answer(modelyard: Run) -> None:
    ran = modelyard("service", "create", "iris", "--config", "[]", "--no-wait", "--json")
    assert json.loads(ran.out)["service_id"] == SERVICE_ID


def test_a_failed_service_ends_with_its_reason(modelyard: Run, standin: StandIn) -> None:
    standin.statuses = ["deploying", "failed"]
    ran = modelyard("service", "start", "iris")
    assert ran.code == 1
    assert "starting model" in ran.err


def test_an_update_keeps_what_was_not_mentioned(modelyard: Run, standin: StandIn) -> None:
    standin.models = [
        {"model_name": "iris", "model_version": version, "model_id": model_id,
         "model_status": "published"}
        for version, model_id in (("0.0.1", "m1"), ("0.0.2", "m2"))
    ]  # fmt: skip
    ran = modelyard(
        "service", "update", "iris", "--model", "iris:0.0.1=70", "--model", "iris:0.0.2=30x3",
        "--env", "B=2",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    body = json.loads(next(entry[2] for entry in standin.seen if entry[0] == "PUT"))
    first, second = body["config"]
    assert first == {
        "model_id": "m1",
        "weight": 70,
        "specification": "custom",
        "custom_spec": {"cpu": 1, "memory": 512},
        "instance_count": 2,
        "envs": {"A": "1", "B": "2"},
    }
    assert second == {
        "model_id": "m2",
        "weight": 30,
        "specification": "modelarts.vm.cpu.2u",
        "instance_count": 3,
        "envs": {"B": "2"},
    }


def test_an_update_of_nothing_is_refused(modelyard: Run, standin: StandIn) -> None:
    ran = modelyard("service", "update", "iris")
    assert ran.code == 1
    assert "No change was given" in ran.err
    assert all(entry[0] == "GET" for entry in standin.seen)


def test_predict_sends_json_or_files(modelyard: Run, standin: StandIn, tmp_path: Path) -> None:
    standin.statuses = ["running"]
    ran = modelyard("predict", "iris", "--data", '{"x": 1}', "--json")
    assert json.loads(ran.out) == {"type": "application/json"}
    assert standin.seen[-1][2] == b'{"x": 1}'
    picture = tmp_path / "seven.png"
    picture.write_bytes(b"PNG")
    ran = modelyard("predict", "iris", "--file", f"images={picture}")
    assert json.loads(ran.out) == {"type": "multipart/form-data"}
    assert b'name="images"; filename="seven.png"' in standin.seen[-1][2]
    assert "0.0.2" in ran.err


def test_predicting_with_a_stopped_service_says_how_to_start_it(
    modelyard: Run, standin: StandIn
) -> None:
    standin.statuses = ["stopped"]
    ran = modelyard("predict", "iris", "--data", "{}")
    assert ran.code == 1
    assert "modelyard service start iris" in ran.err


def test_env_prints_exports(modelyard: Run) -> None:
    ran = modelyard("env")
    assert "export OS_USERNAME=admin;" in ran.out
    assert "export OS_IDENTITY_API_VERSION=3;" in ran.out


def test_objects_are_copied_and_listed(modelyard: Run, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "sub" / "b.txt").write_text("bb")
    assert modelyard("obs", "cp", "-r", str(folder), "obs://bucket/x").code == 0
    listed = json.loads(modelyard("obs", "ls", "obs://bucket", "--json").out)
    assert listed["objects"] == [
        {"path": "obs://bucket/x/a.txt", "size": 1},
        {"path": "obs://bucket/x/sub/b.txt", "size": 2},
    ]
    assert json.loads(modelyard("obs", "ls", "--json").out) == {
        "objects": [{"path": "obs://bucket/", "size": 0}]
    }
    back = tmp_path / "back"
    assert modelyard("obs", "cp", "-r", "obs://bucket/x", str(back)).code == 0
    assert (back / "sub" / "b.txt").read_text() == "bb"
    one = tmp_path / "one.txt"
    assert modelyard("obs", "cp", "obs://bucket/x/a.txt", str(one)).code == 0
    assert one.read_text() == "a"
    ran = modelyard("obs", "cp", "obs://bucket/x/none.txt", str(one))
    assert (ran.code, "obs://bucket/x/none.txt" in ran.err) == (1, True)


def test_a_folder_that_is_no_package_is_refused_before_any_upload(
    modelyard: Run, tmp_path: Path, standin: StandIn
) -> None:
    (tmp_path / "empty").mkdir()
    ran = modelyard("model", "import", str(tmp_path / "empty"))
    assert ran.code == 1
    assert "model/config.json" in ran.err
    assert standin.seen == []
