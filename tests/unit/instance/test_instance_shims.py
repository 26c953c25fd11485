"""Repairs for packages of another age: with the real scikit-learn, and with stand-ins elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

START = "from modelyard_instance.worker import shims\nshims.install()\nshims.install()\n"


def run(code: str, folder: Path | None = None, status: int = 0) -> str:
    """What a fresh interpreter prints, with ``folder``'s modules at hand."""
    paths = f"import sys\nsys.path.insert(0, {str(folder)!r})\n" if folder else ""
    done = subprocess.run(
        [sys.executable, "-c", paths + START + dedent(code)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout + (done.stderr if status else "")


def write(folder: Path, name: str, code: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(code))


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    printed = run("import sys\nprint({'sklearn', 'joblib', 'torch'} & set(sys.modules))")
    assert printed == "set()\n"


def test_the_old_place_of_joblib() -> None:
    code = """
        from sklearn.externals import joblib as one
        import sklearn.externals.joblib as two
        import sklearn.externals.joblib.numpy_pickle as inner
        import joblib, joblib.numpy_pickle
        print(one is joblib, two is joblib, inner is joblib.numpy_pickle, joblib.__name__)
    """
    assert run(code) == "True True True joblib\n"


def test_old_pickles_name_it_too(tmp_path: Path) -> None:
    code = f"""
        import pickle
        from sklearn.externals import joblib
        joblib.dump([1, 2], {str(tmp_path / "m.pkl")!r})
        print(joblib.load({str(tmp_path / "m.pkl")!r}))
        print(pickle.loads(b"csklearn.externals.joblib.numpy_pickle\\nNumpyArrayWrapper\\n.").__name__)
    """
    assert run(code) == "[1, 2]\nNumpyArrayWrapper\n"


def test_what_exists_is_never_replaced(tmp_path: Path) -> None:
    for name in ("sklearn/__init__.py", "sklearn/externals/__init__.py"):
        write(tmp_path, name, "")
    write(tmp_path, "sklearn/externals/joblib.py", "OLD = True\n")
    assert run("from sklearn.externals import joblib\nprint(joblib.OLD)", tmp_path) == "True\n"


def test_what_is_not_there_is_missed_under_its_own_name(tmp_path: Path) -> None:
    for name in ("sklearn/__init__.py", "sklearn/externals/__init__.py"):
        write(tmp_path, name, "")
    write(tmp_path, "joblib.py", "raise ModuleNotFoundError('No module named joblib')\n")
    assert "No module named joblib" in run("from sklearn.externals import joblib", tmp_path, 1)
    assert "sklearn.externals.other" in run("import sklearn.externals.other", tmp_path, 1)


TORCH = """
    defined = []

    class Library:
        def __init__(self, namespace, kind):
            self.prefix = f"{namespace} {kind} "

        def define(self, schema):
            defined.append(self.prefix + schema)


    def register_fake(name):
        space, _, operator = name.partition("::")
        if not any(one.startswith(f"{space} DEF {operator}(") for one in defined):
            raise RuntimeError(f"operator {name} does not exist")
        return lambda function: function
"""


def fake_vision(folder: Path, *, compiled: bool) -> None:
    """torchvision, as far as its import goes: it asks for an operator that may not be."""
    write(folder, "torch/__init__.py", "from torch import library\n")
    write(folder, "torch/library.py", TORCH)
    write(folder, "torchvision/extension.py", f"def _has_ops():\n    return {compiled}\n")
    write(
        folder,
        "torchvision/__init__.py",
        "from torchvision import extension, _meta_registrations\n",
    )
    write(
        folder,
        "torchvision/_meta_registrations.py",
        f"""
        import torch

        if not {compiled}:
            @torch.library.register_fake("torchvision::nms")
            def one(): ...

            @torch.library.register_fake("torchvision::qnms")
            def two(): ...
        """,
    )


def test_torchvision_beside_the_cpu_build_of_torch(tmp_path: Path) -> None:
    fake_vision(tmp_path, compiled=False)
    printed = run(
        "import torchvision\nfrom torch.library import defined\nprint(*defined)", tmp_path
    )
    assert printed.startswith("torchvision DEF nms(Tensor dets, Tensor scores, float")
    assert "torchvision DEF qnms(Tensor" in printed


def test_torchvision_that_fits_is_left_alone(tmp_path: Path) -> None:
    fake_vision(tmp_path, compiled=True)
    assert run("import torchvision, torch\nprint(torch.library.defined)", tmp_path) == "[]\n"


def fake_mindspore(folder: Path) -> None:
    """MindSpore's settings on a machine with a CPU only."""
    write(
        folder,
        "mindspore/__init__.py",
        """
        from mindspore.context import set_context
        from mindspore.device_manager import set_device
        """,
    )
    write(
        folder,
        "mindspore/context.py",
        """
        def set_context(**settings):
            '''Sets.'''
            if settings.get("device_target") == "Ascend" or "device_id" in settings:
                raise ValueError("not supported")
            if settings.get("mode") == 7:
                raise ValueError("no such mode")
            print(settings)
        """,
    )
    write(
        folder,
        "mindspore/device_manager.py",
        """
        def set_device(device_target, device_id=None):
            if device_target != "CPU" or device_id is not None:
                raise RuntimeError("not here")
            print(device_target)
        """,
    )


def test_mindspore_without_the_device_that_is_named(tmp_path: Path) -> None:
    fake_mindspore(tmp_path)
    code = """
        import mindspore, inspect
        from mindspore import context
        mindspore.set_context(mode=0, device_target="Ascend", device_id=0)
        context.set_context(device_target="CPU")
        mindspore.set_device("Ascend", device_id=0)
        mindspore.set_device("Ascend", 0)
        mindspore.set_device(device_target="Ascend")
        print(mindspore.set_context.__doc__, "def set_context" in inspect.getsource(context))
        try:
            mindspore.set_context(mode=7)
        except ValueError as error:
            print(error)
    """
    assert run(code, tmp_path).splitlines() == [
        "{'mode': 0, 'device_target': 'CPU'}",
        "{'device_target': 'CPU'}",
        *["CPU"] * 3,
        "Sets. True",
        "no such mode",
    ]
