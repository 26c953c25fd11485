"""``/home/mind`` inside an instance, and nowhere else (models.md §9)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from modelyard_instance.worker.home import names_home

# Run in a process of its own: what it changes cannot be changed back.
_LOOK = """
import ctypes, json, logging, os, sys
from pathlib import Path
from modelyard_instance.worker.home import show_package_at_home
from modelyard_instance.spec import Spec
package, uid = sys.argv[1:]
logging.basicConfig(format="%(message)s")
if uid != "0":
    os.setgroups([]); os.setgid(int(uid)); os.setuid(int(uid))
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as a process that was never root
    ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # no new privileges
if os.environ.get("FORBID"):
    import modelyard_instance.worker.home as home
    def forbidden(flags):
        raise PermissionError(1, "unshare: Operation not permitted")
    home._unshare = forbidden
if os.environ.get("BREAK"):
    import modelyard_instance.worker.home as home
    def broken(there, here):
        raise OSError(28, "mount: No space left on device")
    home._copy_entry = broken
spec = Spec("i", "s", "p", "m", "n", "0.0.1", "PyTorch", package)
shown = show_package_at_home(spec) and show_package_at_home(spec)
home = Path("/home/mind/model")
print(json.dumps({
    "shown": shown,
    "files": sorted(os.listdir(home)) if home.is_dir() else None,
    "home": sorted(os.listdir("/home")),
    "rights": Path("/proc/self/status").read_text().partition("CapEff:")[2].split()[0],
}))
"""


def _look(package: Path, *, uid: int = 0, **env: str) -> tuple[dict[str, object], str]:
    # Not pytest's own folder, into which no other user may look.
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        shutil.copytree(package, top / "package" / "model")
        for one in (top, *top.rglob("*")):
            os.chown(one, uid or os.getuid(), -1)
        done = subprocess.run(
            [sys.executable, "-c", _LOOK, str(top / "package"), str(uid)],
            env={**os.environ, "TMPDIR": str(top), **env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert [one.name for one in top.iterdir()] == ["package"]
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found, done.stderr


@pytest.fixture
def package(tmp_path: Path) -> Path:
    model = tmp_path / "package" / "model"
    model.mkdir(parents=True)
    (model / "customize_service.py").write_text("OPEN = '/home/mind/model/labels.json'\n")
    return model


def test_a_text_that_names_it_is_noticed(package: Path) -> None:
    assert names_home(package)
    (package / "customize_service.py").write_text("OPEN = '/home/other'\n")
    (package / "net.pth").write_bytes(b"/home/mind")
    assert not names_home(package)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become either kind of user")
@pytest.mark.parametrize("uid", [0, 54321])
def test_the_package_is_shown_there_and_nothing_else_is_hidden(package: Path, uid: int) -> None:
    before = sorted(os.listdir("/home"))
    found, said = _look(package, uid=uid)
    if uid and not found["shown"]:
        pytest.skip(f"this machine gives users no namespaces of their own: {said}")
    assert found["shown"] is True
    assert found["files"] == ["customize_service.py"]
    assert found["home"] == sorted({*before, "mind", "work"})
    assert sorted(os.listdir("/home")) == before
    assert uid == 0 or int(str(found["rights"]), 16) == 0


def test_where_it_cannot_be_shown_the_log_says_so(package: Path) -> None:
    found, said = _look(package, FORBID="1")
    assert found["shown"] is False
    assert "names /home/mind, which this machine cannot show it" in said
    (package / "customize_service.py").write_text("pass\n")
    assert _look(package, FORBID="1")[1] == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
def test_an_attempt_that_fails_half_way_leaves_nothing(package: Path) -> None:
    if not os.listdir("/home"):
        pytest.skip("NOT TESTED: there is nothing in /home")
    found, said = _look(package, BREAK="1")
    assert found["shown"] is False
    assert "No space left" in said
    assert "mind" not in str(found["home"])
