"""Modelyard of some commit, installed apart from the tests: from its source tree, or a wheel."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
_UV = [sys.executable, "-m", "uv"]


class Installation:
    """An environment in ``folder`` that runs the commit; ``become`` replaces the code in place.

    ``wheel``: install wheels; otherwise the tree itself, editable, always at the same path.
    """

    def __init__(self, folder: Path, commit: str, *, wheel: bool) -> None:
        self._folder, self.is_wheel = folder, wheel
        self.python = folder / "env" / "bin" / "python"
        self._uv("venv", "--quiet", "--python", sys.executable, str(folder / "env"))
        self.become(commit)

    def become(self, commit: str | None) -> None:
        """Replace the code by another commit's; None: what lies in the repository now."""
        self.replace(self.prepare(commit))

    def prepare(self, commit: str | None) -> Path:
        """What ``replace`` needs, made while the code of before runs: a tree, or a wheel."""
        fresh = self._folder / f"fresh-{commit}"
        export(commit, fresh)
        if not self.is_wheel:
            return fresh
        built = self._folder / f"wheel-{commit}"
        self._uv("build", "--quiet", "--wheel", "--out-dir", str(built), str(fresh))
        [wheel] = built.glob("*.whl")
        return wheel

    def replace(self, prepared: Path) -> None:
        """Put it where the code of before is."""
        if self.is_wheel:
            # The version may be the same; the code is not.
            self._install("--reinstall-package", "modelyard", str(prepared))
            return
        code = self._folder / "code"
        if code.exists():
            shutil.rmtree(code)
        prepared.rename(code)
        self._install("--editable", str(code))

    def _install(self, *what: str) -> None:
        self._uv("pip", "install", "--quiet", "--python", str(self.python), *what)

    @staticmethod
    def _uv(*arguments: str) -> None:
        done = subprocess.run(
            [*_UV, *arguments], capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, f"uv {' '.join(arguments)}: {done.stderr}"


def export(commit: str | None, target: Path) -> None:
    """The files of ``commit`` into ``target``; None: the tracked and new files as they lie here."""
    target.mkdir()
    if commit is None:
        listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
        for name in filter(None, listed.decode().split("\0")):
            if (ROOT / name).is_file():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target / name)
        return
    with tarfile.open(fileobj=io.BytesIO(_git("archive", "--format=tar", commit))) as archive:
        archive.extractall(target, filter="data")


def _git(*arguments: str) -> bytes:
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, check=True, timeout=60
    ).stdout
