"""The files of a package: is everything there? (models.md §2); pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from modelyard.errors import Problem
from modelyard.packages.engines import Engine

CONFIG = "config.json"
SCRIPT = "customize_service.py"
NOT_PACKAGED = ("__pycache__", ".git", ".venv", ".ipynb_checkpoints")
"""What often lies beside a package's files and never belongs to it."""
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar")


@dataclass(frozen=True, slots=True)
class Layout:
    """What the listing of ``model/`` says. ``warnings`` are sentences."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


def check_layout(
    files: Collection[str],
    engine: Engine,
    *,
    config_given: bool = False,
    script_given: bool = False,
) -> Layout:
    """Check the names of the files below ``model/``, relative to it.

    ``config_given``, ``script_given``: the create call brought them (``initial_config``,
    ``execution_code``). Weights are asked for only where a default handler must find them: a script
    may load what it likes.
    """
    problems: list[Problem] = []
    warnings: list[str] = []
    if CONFIG not in files and not config_given:
        problems.append(_missing(files, CONFIG))
    has_script = SCRIPT in files or script_given
    if not has_script and not engine.scriptless:
        problems.append(_missing(files, SCRIPT))
    if not has_script and engine.marker and engine.marker not in files:
        reason = f"model/ holds neither {SCRIPT} nor {engine.marker}"
        remedy = f"Put a SavedModel into model/, or add {SCRIPT}."
        problems.append(Problem("source_location", reason, remedy, code="3017"))
    weights = weight_files(files, engine)
    if engine.suffixes and len(weights) != 1:
        found = ", ".join(sorted(weights)[:5]) or "none"
        reason = f"needs one file of {engine.name} weights, found {found}"
        if has_script:
            warnings.append(f"model/ {reason}; the script must find its own")
        else:
            wanted = ", ".join(engine.suffixes)
            remedy = f"Put one of {wanted} into model/, or add {SCRIPT}."
            problems.append(Problem("source_location", f"model/ {reason}", remedy, code="3017"))
    if has_script and engine.marker and not any(f.endswith(engine.marker) for f in files):
        warnings.append(f"model/ holds no {engine.marker}; the script must find its own model")
    return Layout(tuple(problems), tuple(warnings))


def not_a_folder(source: str) -> Problem:
    """The problem of a source that is an object, for example an archive."""
    reason = f"{source} is a file and no folder"
    if source.lower().endswith(ARCHIVES):
        remedy = "Unpack it and upload the folder that holds model/: archives are not opened."
    else:
        remedy = "Name the folder that contains model/."
    return Problem("source_location", reason, remedy, code="3017")


def no_model_folder(names: Collection[str]) -> Problem:
    """The problem of a source without ``model/``; ``names`` are files below it, relative to it."""
    if CONFIG in names or SCRIPT in names:
        return Problem(
            "source_location",
            "names the folder model/ itself",
            "Name the folder that contains model/.",
            code="3017",
        )
    inner = sorted(name for name in names if name.endswith(f"/model/{CONFIG}"))
    if inner:
        folder = inner[0].removesuffix(f"/model/{CONFIG}")
        remedy = f"Add {folder!r} to it."
        return Problem("source_location", f"has model/ below {folder!r}", remedy, code="3017")
    return Problem(
        "source_location",
        "contains no folder model/",
        "Upload the package as <source_location>/model/config.json and so on.",
        code="3017",
    )


def weight_files(files: Collection[str], engine: Engine) -> list[str]:
    """The files directly in ``model/`` that may be the engine's weights."""
    return [
        name
        for name in files
        if "/" not in name
        and name != CONFIG
        and not name.startswith(".")
        and name.lower().endswith(engine.suffixes)
    ]


def _missing(files: Collection[str], wanted: str) -> Problem:
    near = next((name for name in sorted(files) if name.lower() == wanted), None)
    remedy = f"Move model/{near} to model/{wanted}." if near else f"Add model/{wanted}."
    return Problem("source_location", f"model/{wanted} is missing", remedy, code="3017")
