"""uv, run aside: resolving, making an environment, installing.

Only wheels are installed unless the operator allows source builds, so nothing of a package runs
here: uv unpacks wheels, and the interpreter of an environment is not started again once something
is installed in it (files ``*.pth`` would run).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from modelyard.errors import DependenciesFailed
from modelyard.packages.environments.fallback_pins import told_reason
from modelyard.settings import HomeLayout, PackageSettings

_TETHER = Path(__file__).with_name("tether.py")
_UNSOLVABLE = 1
# Half of what there is, and never imported.
_NOT_COMPILED = r"[/\\]tests?[/\\]"
# What uv may need of the machine and of the operator; none of these is a secret of the platform.
_INHERITED = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "XDG_CONFIG_HOME", "SSL_CERT_FILE"),
    *("SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)


class Unobtainable(Exception):
    """No set of distributions meets the demands; the text is uv's reason."""


@dataclass(frozen=True, slots=True)
class Index:
    """Where distributions come from.

    ``arguments`` for uv's command line, ``variables`` for its environment (URLs may carry a
    password, and command lines can be read by everybody).
    """

    arguments: tuple[str, ...] = ()
    variables: Mapping[str, str] | None = None


def index_of(setting: str) -> Index:
    """``MODELYARD_PACKAGE_INDEX``: a folder of wheels, or URLs, the first that has it wins. Pure
    but for a look at what the path is.
    """
    if not setting.strip():
        return Index()
    folder = Path(setting.strip().removeprefix("file://")).expanduser().absolute()
    if folder.is_dir() and not (folder / "index.html").exists():
        return Index(("--no-index", "--find-links", str(folder)))
    *first, last = setting.split()
    variables = {"UV_DEFAULT_INDEX": last}
    if first:
        variables["UV_INDEX"] = " ".join(first)
    return Index((), variables)


class Installer:
    """uv with the operator's settings; what it prints goes to ``log``, too."""

    def __init__(self, settings: PackageSettings, layout: HomeLayout, log: Path) -> None:
        self._index = index_of(settings.package_index)
        self._sources = () if settings.source_builds else ("--only-binary", ":all:")
        self._folder = layout.environments_dir
        self._cache = layout.environments_cache_dir
        self._log = log
        # Where a package's wheels lie while uv works is nobody's business.
        place = re.escape(str(layout.environments_dir))
        self._place = re.compile(rf"(?:file://)?{place}/[^/\s]+/wheels/")

    async def resolve(
        self, demands: Sequence[str], overrides: Sequence[str] = (), scratch: Path | None = None
    ) -> tuple[str, ...]:
        """The full set for ``demands``, as lines ``name==version``.

        ``overrides`` win over what distributions ask of each other; they are written down in the
        folder ``scratch``. Raises ``Unobtainable``; ``DependenciesFailed`` when uv cannot work,
        for example without a network.
        """
        arguments = ["pip", "compile", "-", "--python", sys.executable, "--no-header"]
        arguments += ["--no-annotate", *self._index.arguments, *self._sources]
        if overrides and scratch is not None:
            path = scratch / "overrides.txt"
            await asyncio.to_thread(path.write_text, "\n".join(overrides), "utf-8")
            arguments += ["--override", str(path)]
        output = await self._uv(arguments, "\n".join(demands))
        lines = (line.strip() for line in output.splitlines())
        return tuple(line for line in lines if line and not line.startswith("#"))

    async def make(self, venv: Path) -> None:
        """An empty environment for the platform's own Python, which may be moved."""
        python = ["--python", sys.executable, "--no-project", "--relocatable"]
        await self._uv(["venv", "--quiet", *python, str(venv)])

    async def install(self, venv: Path, lock: Path) -> None:
        """Install exactly the lines of ``lock`` into the empty ``venv``."""
        into = ["--python", str(venv / "bin" / "python"), "--link-mode", "hardlink"]
        exactly = ["--no-deps", "--requirements", str(lock)]
        await self._uv(["pip", "install", *into, *exactly, *self._index.arguments, *self._sources])

    async def compile(self, venv: Path) -> None:
        """Byte-compile, by the platform's own interpreter, which runs nothing of it."""
        compiling = [sys.executable, "-I", "-S", "-m", "compileall", "-q", "-x", _NOT_COMPILED]
        # Distributions carry files that do not compile, of other Pythons or as test data.
        await self._run([*compiling, str(venv / "lib")])

    async def forget_cache(self) -> None:
        """Remove what has been fetched; environments keep their files. Not the operator's cache."""
        if "UV_CACHE_DIR" not in os.environ:
            await self._uv(["cache", "clean", "--quiet"])

    async def _uv(self, arguments: Sequence[str], given: str = "") -> str:
        try:
            uv = find_uv_bin()
        except FileNotFoundError as error:
            raise DependenciesFailed(
                f"uv, which installs dependencies, is not there: {error}. Install Modelyard anew."
            ) from error
        status, output, errors = await self._run([uv, "--color", "never", *arguments], given)
        if status == 0:
            return output
        reason = (
            self._place.sub("model/", told_reason(errors))
            or f"uv ended with status {status} and said nothing"
        )
        if status == _UNSOLVABLE:
            raise Unobtainable(reason)
        raise DependenciesFailed(
            f"The dependencies could not be installed: {reason} "
            "Mend that, delete this model and import it again."
        )

    async def _run(self, argv: Sequence[str], given: str = "") -> tuple[int, str, str]:
        """Status, output and errors. Killed, with what it started, when the caller is cancelled."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), *argv),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment(os.environ),
            cwd=self._folder,
            start_new_session=True,
        )
        try:
            output, errors = await process.communicate(given.encode())
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        await asyncio.to_thread(self._note, argv, errors)
        return (
            process.returncode or 0,
            output.decode(errors="replace"),
            errors.decode(errors="replace"),
        )

    def _environment(self, source: Mapping[str, str]) -> dict[str, str]:
        """Nothing of the platform's own variables reaches uv, or a source that it builds."""
        found = {
            name: value
            for name, value in source.items()
            if name in _INHERITED or name.startswith("UV_")
        }
        found.setdefault("UV_CACHE_DIR", str(self._cache))
        found["UV_NO_PROGRESS"] = "1"
        return {**found, **(self._index.variables or {})}

    def _note(self, argv: Sequence[str], errors: bytes) -> None:
        with self._log.open("ab") as file:
            file.write(f"$ {' '.join(argv)}\n".encode() + errors)
