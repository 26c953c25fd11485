"""Settings: where sockets go, and whose they must be."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.settings import Settings


def test_sockets_live_in_the_home(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "h")
    if len(str(tmp_path)) < 60:
        assert settings.sockets_dir == tmp_path / "h" / "run" / "sockets"
    settings.prepare_home()
    assert settings.home.stat().st_mode & 0o777 == 0o700


def test_a_long_home_gets_a_short_socket_folder(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / ("x" * 100))
    settings.prepare_home()
    assert len(str(settings.api_socket)) < 108
    assert settings.sockets_dir.stat().st_mode & 0o777 == 0o700
    settings.forget_sockets()
    assert not settings.sockets_dir.exists()


def test_a_socket_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / ("y" * 100))
    settings.sockets_dir.symlink_to(tmp_path)
    try:
        with pytest.raises(PermissionError, match="MODELYARD_HOME"):
            settings.prepare_home()
    finally:
        settings.sockets_dir.unlink()


def test_the_address_is_one_a_client_can_reach() -> None:
    assert Settings(host="0.0.0.0", port=8711).address == "http://127.0.0.1:8711"
    behind = Settings(host="0.0.0.0", public_url="https://models.example/")
    assert behind.public_address == "https://models.example"
    assert Settings(port=8711).public_address == "http://127.0.0.1:8711"
    assert Settings(host="::1", port=8711).address == "http://[::1]:8711"
