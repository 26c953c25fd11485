"""The folders of instances, cut off half-way."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from modelyard.runtime import folders
from modelyard.runtime.folders import InstanceFolder


def test_a_removal_that_is_cut_off_is_ended_by_the_next_one_to_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = InstanceFolder(tmp_path / "one", "one", "s", "m", tmp_path / "log")
    (folder.path / "work").mkdir(parents=True)
    with monkeypatch.context() as dying:
        dying.setattr(shutil, "rmtree", lambda *_, **__: None)
        folder.remove()
    assert not folder.path.exists()
    folders.forget_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == []
