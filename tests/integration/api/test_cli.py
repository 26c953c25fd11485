"""The command line against a whole platform, from import to delete."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stack import Stack


@pytest.fixture
def imported(stack: Stack, make_package, request: pytest.FixtureRequest) -> str:
    """The name of a model with versions 0.0.1 and 0.0.2, imported by the command line."""
    name = f"cli-{request.node.name.replace('_', '-')}"[:40].rstrip("-")
    for version in ("0.0.1", "0.0.2"):
        folder = make_package(version)
        shown = stack.json("model", "import", str(folder), "--name", name)
        assert shown["model_version"] == version
        assert shown["model_status"] == "published"
    return name


def test_a_service_lives_by_the_command_line(stack: Stack, imported: str) -> None:
    name = imported
    service = stack.json("service", "create", name, "--model", f"{name}:0.0.1")
    assert service["status"] == "running"
    assert stack.json("predict", name, "--data", '{"x": 1}') == {
        "version": "0.0.1",
        "echo": {"x": 1},
    }
    updated = stack.json(
        "service", "update", name, "--model", f"{name}:0.0.1=0", "--model", f"{name}:0.0.2=100x2"
    )
    weights = {entry["model_version"]: entry["weight"] for entry in updated["config"]}
    assert weights == {"0.0.1": 0, "0.0.2": 100}
    for _ in range(5):
        assert stack.json("predict", name, "--data", "{}")["version"] == "0.0.2"
    assert stack.json("service", "logs", name)["logs"][0]["result"] == "SUCCESS"
    assert stack.json("service", "events", name)["count"] > 0
    assert stack.json("service", "stop", name)["status"] == "stopped"
    refused = stack.run("predict", name, "--data", "{}", check=False)
    assert "modelyard service start" in refused.stderr
    assert stack.json("service", "start", name)["status"] == "running"
    in_use = stack.run("model", "delete", f"{name}:0.0.2", check=False)
    assert (in_use.returncode, "ModelArts.3009" in in_use.stderr) == (1, True)
    stack.run("service", "delete", name)
    listed = stack.json("service", "list", "--name", name)
    assert listed["services"] == []
    stack.run("model", "delete", name, "--cascade")
    assert stack.json("model", "list", "--name", name)["models"] == []


def test_human_output_shows_tables(stack: Stack, imported: str) -> None:
    listed = stack.run("model", "list", "--name", imported).stdout
    assert "NAME" in listed
    assert listed.count(imported) == 2
    shown = stack.run("model", "show", f"{imported}:0.0.2").stdout
    assert "published" in shown


def test_the_api_s_refusal_is_shown_with_its_code(stack: Stack, imported: str) -> None:
    config = json.dumps([{"model_id": "0" * 8, "weight": 100}])
    refused = stack.run("service", "create", "bad", "--config", config, check=False)
    assert refused.returncode == 1
    assert "ModelArts." in refused.stderr
    assert refused.stdout == ""


def test_a_broken_package_fails_with_the_reason(stack: Stack, make_package, tmp_path: Path) -> None:
    folder = make_package("0.0.1")
    (folder / "model" / "customize_service.py").unlink()
    refused = stack.run("model", "import", str(folder), "--name", "cli-broken", check=False)
    assert refused.returncode == 1
    assert "customize_service.py" in refused.stderr


def test_objects_can_be_copied_in_and_imported_from(stack: Stack, make_package) -> None:
    folder = make_package("0.0.1")
    stack.run("obs", "cp", "-r", str(folder), "obs://data/echo")
    paths = [item["path"] for item in stack.json("obs", "ls", "obs://data/echo")["objects"]]
    assert "obs://data/echo/model/config.json" in paths
    shown = stack.json(
        "model", "import", "obs://data/echo", "--name", "cli-from-obs", "--type", "PyTorch"
    )
    assert shown["model_status"] == "published"


def test_env_and_token_open_the_api(stack: Stack) -> None:
    token = stack.run("token").stdout.strip()
    path = f"{stack.address}/v1/{stack.project_id}/services"
    assert stack.client.get(path, headers={"X-Auth-Token": token}).status_code == 200
    lines = stack.run("env").stdout
    done = subprocess.run(
        ["bash", "-c", f"eval $(cat <<'END'\n{lines}END\n); env"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"OS_AUTH_URL={stack.address}/v3" in done.stdout
    assert f"OS_PASSWORD={stack.credentials['password']}" in done.stdout


def test_a_second_user_sees_nothing_of_the_first(stack: Stack, imported: str) -> None:
    stack.run("iam", "add", "project", "blue")
    user = stack.json("iam", "add", "user", "alice", "--project", "blue")
    who = stack.credentials
    environment = {
        **{k: v for k, v in stack.environment.items() if k != "MODELYARD_HOME"},
        "OS_AUTH_URL": who["auth_url"],
        "OS_USERNAME": "alice",
        "OS_PASSWORD": user["password"],
        "OS_USER_DOMAIN_NAME": who["domain_name"],
        "OS_PROJECT_NAME": "blue",
        "OS_REGION_NAME": who["region"],
        "MODELYARD_HOME": str(stack.home / "nobody"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "modelyard", "model", "list", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["models"] == []
