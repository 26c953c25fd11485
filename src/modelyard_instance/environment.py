"""The worker's environment: a clean base and the service's variables, nothing of ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from modelyard_instance.spec import Spec

MARK = "MODELYARD_INSTANCE_ID"
"""Every process of an instance carries its id under this name, so that none is ever missed."""

# What a process may need of the machine it runs on; none of these holds a secret of ours.
_INHERITED = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "ASCEND_RT_VISIBLE_DEVICES",
)
LIBRARY = "lib"
"""In the folder of an instance with an interpreter of its own: what a worker imports of ours."""

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def base_environment(instance_id: str, source: Mapping[str, str]) -> dict[str, str]:
    """The clean base for any process of the instance, out of the environment ``source``. Pure."""
    base = {name: source[name] for name in _INHERITED if name in source}
    base.setdefault("PATH", os.defpath)
    base.setdefault("LANG", "C.UTF-8")
    base[MARK] = instance_id
    return base


def work_folder(folder: Path, number: int) -> Path:
    """The current folder of worker ``number``: fixed names of scratch files never meet. Pure.

    Beside each other, not one in the other: what lies in a worker's folder is the package's.
    """
    return folder / (f"work-{number}" if number else "work")


def worker_environment(
    spec: Spec, folder: Path, source: Mapping[str, str], number: int = 0, cpu: float = 0.0
) -> dict[str, str]:
    """The environment of the worker ``number`` of ``spec`` in ``folder``. Pure.

    Numeric libraries get as many threads as it has whole cores, at least one: ``cpu``, or all of
    the instance's. The service's ``envs`` (services.md §3) win over everything but the instance's
    mark and, with an interpreter of the package's own, the place of what the worker itself imports.
    """
    environment = base_environment(spec.instance_id, source)
    environment.update(
        {name: str(max(1, int(cpu or spec.cpu))) for name in THREADS},
        HOME=str(work_folder(folder, number)),
        PYTHONUNBUFFERED="1",
        PYTHONDONTWRITEBYTECODE="1",
        PYTHONIOENCODING="utf-8:backslashreplace",
        PYTHONFAULTHANDLER="1",
        MODEL_NAME=spec.model_name,
        MODEL_VERSION=spec.model_version,
        MODEL_TYPE=spec.model_type,
    )
    if spec.python:
        # Distributions bring programs, too.
        own = str(Path(spec.python).parent)
        environment["PATH"] = f"{own}{os.pathsep}{environment['PATH']}"
    environment.update({str(name): str(value) for name, value in spec.envs.items()})
    if spec.python:
        # First, also where the service has a PYTHONPATH: without it there is no worker.
        paths = (str(folder / LIBRARY), environment.get("PYTHONPATH", ""))
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    environment[MARK] = spec.instance_id
    return environment


def lend_packages(folder: Path, python: str = "") -> None:
    """Make what a worker imports reachable for a foreign interpreter, and nothing else of ours.

    Links in ``folder/lib``, which ``worker_environment`` puts on ``PYTHONPATH`` when the spec names
    an interpreter. ``orjson`` is lent to the environment of ``python``, one of our own version,
    unless it has its own: it needs nothing else, and JSON is what a worker has to do most.
    """
    library = folder / LIBRARY
    library.mkdir(exist_ok=True)
    # The worker may be another user; who gets this far is the instance's folder's business.
    library.chmod(0o755)
    here = Path(__file__).resolve().parent
    lent = {here.name: here}
    faster = find_spec("orjson")
    if python and faster is not None and faster.origin and _lacks(python, "orjson"):
        lent["orjson"] = Path(faster.origin).parent
    for name, target in lent.items():
        link = library / name
        if not link.is_symlink():
            link.symlink_to(target)


def _lacks(python: str, package: str) -> bool:
    """Whether the environment of ``python`` is one of our version, and without ``package``."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    installed = Path(python).parent.parent / "lib" / version / "site-packages"
    return installed.is_dir() and not (installed / package).exists()
