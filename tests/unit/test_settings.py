"""Settings: where sockets go, and whose they must be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from modelyard.domain.service.pools import Generation, PoolRef
from modelyard.domain.service.resources import Resources
from modelyard.settings import RolloutSettings, Settings, variable_of
from modelyard.settings.pools import PoolSettings


def test_sockets_live_in_the_home(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "h")
    if len(str(tmp_path)) < 60:
        assert settings.layout.sockets_dir == tmp_path / "h" / "run" / "sockets"
    settings.layout.prepare_home()
    assert settings.home.stat().st_mode & 0o777 == 0o700


def test_a_long_home_gets_a_short_socket_folder(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / ("x" * 100))
    settings.layout.prepare_home()
    assert len(str(settings.layout.api_socket)) < 108
    assert settings.layout.sockets_dir.stat().st_mode & 0o777 == 0o700
    settings.layout.forget_sockets()
    assert not settings.layout.sockets_dir.exists()


def test_a_socket_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / ("y" * 100))
    settings.layout.sockets_dir.symlink_to(tmp_path)
    try:
        with pytest.raises(PermissionError, match="MODELYARD_HOME"):
            settings.layout.prepare_home()
    finally:
        settings.layout.sockets_dir.unlink()


def test_the_address_is_one_a_client_can_reach() -> None:
    assert Settings(host="0.0.0.0", port=8711).gateway.address == "http://127.0.0.1:8711"
    behind = Settings(host="0.0.0.0", public_url="https://models.example/")
    assert behind.gateway.public_address == "https://models.example"
    assert Settings(port=8711).gateway.public_address == "http://127.0.0.1:8711"
    assert Settings(host="::1", port=8711).gateway.address == "http://[::1]:8711"


def test_every_setting_survives_as_text(tmp_path: Path) -> None:
    pool = PoolSettings(id="p", cpu=1.5, memory_mb=1, generation=Generation.V1)
    settings = Settings(home=tmp_path, pools=(pool,), shared_cpu=2.5, bare_update_answer=True)
    texts = {name: settings.as_text(name) for name in Settings.fields()}
    del texts["admin_password"]
    assert Settings.model_validate(texts) == settings


def test_arguments_win_over_variables_and_both_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_PORT", "8711")
    monkeypatch.setenv("MODELYARD_HOST", "::1")
    monkeypatch.setenv("MODELYARD_BATCH_ATTEMPTS", "7")
    settings = Settings(port=8712, former_name="of another build")
    assert (settings.gateway.port, settings.gateway.host) == (8712, "::1")
    assert settings.batch.batch_attempts == 7
    assert settings.given >= {"port", "host", "batch_attempts"}
    assert "batch_keep" not in settings.given


def test_a_group_can_be_given_whole() -> None:
    rollout = RolloutSettings(probation=0.5)
    assert Settings(rollout=rollout).rollout is rollout


def test_an_error_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_DRAIN_GRACE", "long")
    with pytest.raises(ValidationError) as found:
        Settings(port=0, pools=[{"id": "p", "cpu": -1, "memory_mb": 1}])
    assert [variable_of(error["loc"]) for error in found.value.errors()] == [
        "MODELYARD_PORT",
        "MODELYARD_POOLS_0_CPU",
        "MODELYARD_DRAIN_GRACE",
    ]


def test_no_setting_is_named_twice_or_like_a_group() -> None:
    groups = {name: getattr(Settings(), name) for name in Settings.model_fields}
    names = [name for group in groups.values() for name in type(group).model_fields]
    assert len(names) == len(set(names)) == len(Settings.fields())
    assert not set(names) & set(groups)


def test_pools_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    told = (
        '[{"id": "p1", "cpu": 4, "memory_mb": 4096, "gpu": 0.5, "nodes": [{"name": "10.0.0.1"}]},'
        ' {"id": "p1", "name": "Old", "generation": "v1", "state": "Concerning", "cpu": 1,'
        ' "memory_mb": 1}]'
    )
    monkeypatch.setenv("MODELYARD_POOLS", told)
    new, old = (pool.pool() for pool in Settings().capacity.pools)
    assert (new.ref, new.name, new.state) == (PoolRef("p1", Generation.V2), "p1", "Running")
    assert (new.capacity, new.nodes) == (Resources(4, 4096, 0.5, 0), ("10.0.0.1",))
    assert (old.ref.generation, old.name, old.state) == (Generation.V1, "Old", "concerning")
    assert new.usable and old.usable
    # As ``up`` remembers it for the control plane and for later commands.
    assert Settings(pools=Settings().as_text("pools")).capacity.pools == Settings().capacity.pools
    monkeypatch.setenv("MODELYARD_POOLS", "[{")
    with pytest.raises(ValidationError, match="JSON list of pools"):
        Settings()
    monkeypatch.setenv("MODELYARD_POOLS", "")
    assert Settings().capacity.pools == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "a b"},
        {"id": ""},
        {"generation": "v3"},
        {"state": "sleeping"},
        {"generation": "v1", "state": "Creating"},
        {"cpu": -1},
        {"memory_mb": 1.5},
        {"gpus": 1},
        {"nodes": [{"name": "n"}, {"name": "n"}]},
        {"nodes": ["n"]},
    ],
)
def test_a_pool_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PoolSettings.model_validate({"id": "p", "cpu": 1, "memory_mb": 1} | wrong)


def test_pools_are_distinct() -> None:
    pool = PoolSettings(id="p", cpu=1, memory_mb=1)
    with pytest.raises(ValidationError, match="twice"):
        Settings(pools=(pool, pool))
