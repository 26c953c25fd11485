"""Flags over environment over what a running platform was started with over defaults."""

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from modelyard.cli.lifecycle.settings import checked_settings, started_settings
from modelyard.cli.lifecycle.wanted import (
    LifecycleTarget,
    as_started,
    exclusive,
    forget_wanted,
    read_wanted,
    write_wanted,
)
from modelyard.client.credentials import (
    Credentials,
    export_lines,
    exports,
    find_credentials,
)
from modelyard.client.failures import ClientError


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in list(os.environ):
        if name.startswith(("MODELYARD_", "OS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MODELYARD_HOME", str(tmp_path / "default"))


def credentials(**changes: str) -> Credentials:
    values = {
        "auth_url": "http://127.0.0.1:8700/v3",
        "region": "local",
        "domain_name": "acme",
        "user_name": "admin",
        "password": "pass word's $HOME",
        "project_name": "local",
        "project_id": "p" * 32,
        "source": "a file",
    }
    return Credentials(**{**values, **changes})


def test_flag_beats_environment_beats_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert started_settings(tmp_path).gateway.port == 8700
    monkeypatch.setenv("MODELYARD_PORT", "9001")
    assert started_settings(tmp_path).gateway.port == 9001
    assert started_settings(tmp_path, port=9002).gateway.port == 9002
    assert started_settings(tmp_path, port=9002).home == tmp_path


def test_a_started_home_remembers_its_settings_until_down(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = checked_settings({"home": tmp_path, "port": 9003, "object_store": "here"})
    first.layout.prepare_home()
    write_wanted(first, LifecycleTarget.of(first))
    assert started_settings(tmp_path).gateway.port == 9003
    assert started_settings(tmp_path).objects == str(Path("here").absolute())
    monkeypatch.setenv("MODELYARD_PORT", "9004")
    assert started_settings(tmp_path).gateway.port == 9004
    forget_wanted(first)
    assert read_wanted(first) is None
    assert as_started({"home": tmp_path}, first) == {"home": tmp_path}


def test_flags_reach_the_control_plane_by_its_environment(tmp_path: Path) -> None:
    settings = checked_settings({"home": tmp_path, "port": 9005, "database_url": "sqlite:///x"})
    assert LifecycleTarget.of(settings).environment(settings.home) == {
        "MODELYARD_HOME": str(tmp_path),
        "MODELYARD_HOST": "127.0.0.1",
        "MODELYARD_PORT": "9005",
        "MODELYARD_DATABASE_URL": "sqlite:///x",
        "MODELYARD_OBJECT_STORE": "",
    }


def test_a_difference_names_the_setting_but_no_database_password() -> None:
    mine = LifecycleTarget({"port": "1", "database_url": "postgresql://u:secret@h/d"})
    assert mine.difference(mine) == ""
    assert mine.difference(LifecycleTarget({**mine.values, "port": "2"})) == "port: 1, not 2"
    assert mine.difference(LifecycleTarget({"port": "1", "database_url": ""})) == "database_url"


def test_a_bad_setting_is_one_line_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_PORT", "70000")
    with pytest.raises(ClientError, match="MODELYARD_PORT"):
        checked_settings({})


def test_only_one_up_at_a_time(tmp_path: Path) -> None:
    settings = checked_settings({"home": tmp_path})
    settings.layout.prepare_home()
    with exclusive(settings), pytest.raises(ClientError, match="Another"):  # noqa: SIM117
        with exclusive(settings, timeout_s=0.1):
            pass
    with exclusive(settings, timeout_s=0.1):
        pass


def test_the_home_named_beats_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    document = {"auth_url": "http://127.0.0.1:1/v3", "user_name": "file", "password": "x"}
    (tmp_path / "credentials.json").write_text(json.dumps(document))
    for name, value in exports(credentials(user_name="env")).items():
        monkeypatch.setenv(name, value)
    assert find_credentials(tmp_path).user_name == "file"
    found = find_credentials(None)
    assert (found.user_name, found.address) == ("env", "http://127.0.0.1:8700")


@pytest.mark.parametrize(
    ("variables", "user"),
    [("http://127.0.0.1:1/v3", "env"), ("https://iam.elsewhere.example/v3", "file")],
)
def test_variables_of_another_cloud_do_not_lead_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: str, user: str
) -> None:
    home = tmp_path / "default"
    home.mkdir()
    document = {"auth_url": "http://127.0.0.1:1/v3", "user_name": "file", "password": "x"}
    (home / "credentials.json").write_text(json.dumps(document))
    for name, value in exports(credentials(user_name="env", auth_url=variables)).items():
        monkeypatch.setenv(name, value)
    assert find_credentials(None).user_name == user


def test_every_setting_but_secrets_reaches_a_restarted_control_plane(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODELYARD_REGION", "eu")
    monkeypatch.setenv("MODELYARD_ADMIN_PASSWORD", "secret")
    first = checked_settings({"home": tmp_path})
    first.layout.prepare_home()
    write_wanted(first, LifecycleTarget.of(first))
    monkeypatch.delenv("MODELYARD_REGION")
    assert "secret" not in (tmp_path / "run" / "up.json").read_text()
    again = checked_settings(as_started({"home": tmp_path}, first))
    assert again.iam.region == "eu"
    assert LifecycleTarget.of(again).difference(LifecycleTarget.of(first)) == ""


def test_missing_credentials_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="modelyard up"):
        find_credentials(tmp_path)


def test_exports_survive_the_shell() -> None:
    lines = export_lines(exports(credentials()))
    script = f'eval $(printf %s {shlex.quote(lines)}); printf "%s|%s" "$OS_PASSWORD" "$OS_AUTH_URL"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "pass word's $HOME|http://127.0.0.1:8700/v3"
