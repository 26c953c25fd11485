"""Find the example packages, and train their models."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from modelyard.client.failures import ClientError

_TRAINING_LIMIT_S = 120.0


def examples_folder() -> Path:
    """Return the folder of the example packages: the wheel carries it, a checkout has its own.

    Raises ``ClientError`` when there is none.
    """
    installed = Path(str(files("modelyard"))) / "_examples"
    checkout = Path(__file__).resolve().parents[4] / "examples"
    for place in (installed, checkout):
        if (place / "iris-1" / "train.py").is_file():
            return place
    raise ClientError(
        f"The example packages are missing (looked in {installed} and {checkout}).",
        "Install Modelyard again: `pip install --force-reinstall 'modelyard[examples]'`.",
    )


def copy_examples(names: Sequence[str], into: Path) -> list[Path]:
    """Copies of the named examples without weights of earlier trainings."""
    source = examples_folder()
    weights = shutil.ignore_patterns("__pycache__", "*.pkl", "*.joblib")
    return [Path(shutil.copytree(source / name, into / name, ignore=weights)) for name in names]


def train(folders: Sequence[Path]) -> None:
    """Run the ``train.py`` of each folder, all at the same time.

    Raises ``ClientError`` with the last line of a training that failed.
    """
    running = [
        subprocess.Popen(
            [sys.executable, "train.py"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for folder in folders
    ]
    try:
        for folder, process in zip(folders, running, strict=True):
            output, _ = process.communicate(timeout=_TRAINING_LIMIT_S)
            if process.returncode != 0:
                last = (output.strip().splitlines() or ["no output"])[-1]
                raise ClientError(
                    f"The training of {folder.name} failed: {last}",
                    "The examples need `pip install 'modelyard[examples]'`."
                    if "ModuleNotFoundError" in output
                    else "",
                )
    except subprocess.TimeoutExpired:
        raise ClientError(f"A training took longer than {_TRAINING_LIMIT_S:.0f} s.") from None
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
