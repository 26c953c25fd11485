"""The servers that bench/model_server.py compares: how each is made, started and asked.

Every peer lives in an environment of its own, made by ``uv`` in ``~/.cache/modelyard-bench`` at the
first run, and trains the same classifier with its own scikit-learn. What its documentation advises
for speed is what it gets: MLServer without debug mode, compression, metrics and parallel workers
(one core has no use for them), BentoML and gunicorn with one worker; adaptive batching as rows of
their own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from drive import ROOT
from serving import BATCH, WAITING, Server, bentoml_of, gunicorn, mlserver_of

CACHE = Path.home() / ".cache" / "modelyard-bench"
ROW = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
MODELARTS_BODY = json.dumps({"data": {"req_data": [ROW]}})
V2_BODY = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [*ROW.values()]}]}
)
_PACKAGES = {
    "flask": ("flask==3.1.*", "gunicorn==23.*", "scikit-learn>=1.5,<2"),
    "mlserver": ("mlserver==1.7.1", "mlserver-sklearn==1.7.1"),
    "bentoml": ("bentoml==1.4.40", "scikit-learn>=1.5,<2"),
    "flask-torch": ("flask==3.1.*", "gunicorn==23.*", "torch", "numpy"),
    "mlserver-torch": ("mlserver==1.7.1", "torch"),
    "bentoml-torch": ("bentoml==1.4.40", "torch", "numpy"),
}
_TRAIN = (
    "import joblib, sys; from sklearn.datasets import load_iris; "
    "from sklearn.linear_model import LogisticRegression; "
    "x, y = load_iris(return_X_y=True); "
    "joblib.dump(LogisticRegression(max_iter=1000).fit(x, y), sys.argv[1])"
)
_FLASK = """
import json, joblib
from flask import Flask, Response, request
app = Flask(__name__)
model = joblib.load("iris.joblib")
NAMES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
SPECIES = ("setosa", "versicolor", "virginica")
@app.post("/")
def predict():
    rows = [[float(row[n]) for n in NAMES] for row in request.get_json()["data"]["req_data"]]
    found = [{"predict_result": SPECIES[kind]} for kind in model.predict(rows)]
    return Response(json.dumps({"data": {"resp_data": found}}), mimetype="application/json")
"""
_BENTO = """
import bentoml, joblib, numpy as np
@bentoml.service(workers=1, traffic={{"timeout": 40}}, metrics={{"enabled": False}},
                 logging={{"access": {{"enabled": False}}}})
class Iris:
    def __init__(self):
        self.model = joblib.load({model!r})
    @bentoml.api(batchable={batchable}, max_batch_size={size}, max_latency_ms=1000)
    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model.predict(x)
"""


class PeerMissing(Exception):
    """A peer cannot be installed here; the message is its installer's."""


def environment(name: str) -> Path:
    """The ``bin`` folder of the peer's environment, made when it is not there yet.

    Raises ``PeerMissing``.
    """
    home = CACHE / name
    stamp = home / ".installed"
    if stamp.exists():
        return home / "bin"
    uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    for command in (
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)],
        [uv, "pip", "install", "--quiet", "--python", str(home / "bin/python"), *_PACKAGES[name]],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PeerMissing(f"{name}: {done.stderr.strip()[-300:]}")
    stamp.touch()
    return home / "bin"


def train(python: str, path: Path) -> None:
    """Fit the iris classifier with the scikit-learn of ``python``, into the file ``path``."""
    subprocess.run([python, "-c", _TRAIN, str(path)], check=True, capture_output=True)


def _iris(name: str, folder: Path, *, script: bool, remembers: bool = False) -> Server:
    """An instance of ours: the example's package, or the bare estimator without a script.

    One that ``remembers`` keeps state between its hooks, so its requests must be computed one by
    one.
    """
    package = folder / "package"
    shutil.copytree(ROOT / "examples" / "iris-1", package)
    source = package / "model" / "customize_service.py"
    if not script:
        source.unlink()
    elif remembers:
        plain = "return self.model.predict(data)"
        source.write_text(
            source.read_text().replace(plain, f"self.rows = len(data)\n        {plain}")
        )
    train(sys.executable, package / "model" / "iris.joblib")
    return instance(name, folder, "Scikit_Learn", MODELARTS_BODY)


def instance(name: str, folder: Path, model_type: str, body: str) -> Server:
    """An instance of ours of the package in ``folder/package``."""
    own = folder / "instance"
    own.mkdir()
    instance_id = f"bench-{folder.name}"
    spec = {
        **dict.fromkeys(("service_id", "project_id", "model_id", "model_name"), "bench"),
        "instance_id": instance_id,
        "model_version": "0.0.1",
        "model_type": model_type,
        "package_dir": str(folder / "package"),
        "log_file": str(folder / "instance.log"),
    }
    (own / "spec.json").write_text(json.dumps(spec))
    command = [sys.executable, "-m", "modelyard_instance", "--dir", str(own)]
    return Server(
        name,
        lambda _: command,
        own,
        body=body,
        env={"MODELYARD_INSTANCE_ID": instance_id},
        state=own / "state.json",
    )


def package_instance(folder: Path) -> Server:
    """Our instance of a package with a script."""
    return _iris("Modelyard, package", folder, script=True)


def one_by_one_instance(folder: Path) -> Server:
    """Our instance of a package that cannot be batched."""
    return _iris("Modelyard, package, one by one", folder, script=True, remembers=True)


def default_instance(folder: Path) -> Server:
    """Our instance of an estimator without a script."""
    return _iris("Modelyard, default handler", folder, script=False)


def flask(folder: Path) -> Server:
    """Flask behind gunicorn: one worker, threads for the connections."""
    programs = environment("flask")
    train(str(programs / "python"), folder / "iris.joblib")
    (folder / "app.py").write_text(_FLASK)
    return gunicorn(programs, folder, MODELARTS_BODY)


def mlserver(folder: Path) -> Server:
    """MLServer as it is fastest on one core without batching."""
    return _mlserver("MLServer", folder, {})


def mlserver_batching(folder: Path) -> Server:
    """MLServer with its adaptive batching; the wait is as short as pays."""
    return _mlserver("MLServer, batching", folder, WAITING)


def _mlserver(name: str, folder: Path, model: dict[str, float]) -> Server:
    programs = environment("mlserver")
    train(str(programs / "python"), folder / "iris.joblib")
    settings = {
        "implementation": "mlserver_sklearn.SKLearnModel",
        "name": "iris",
        "parameters": {"uri": "./iris.joblib"},
        **model,
    }
    return mlserver_of(name, programs, folder, settings, V2_BODY)


def bentoml(folder: Path) -> Server:
    """BentoML, one worker."""
    return _bentoml("BentoML", folder, batchable=False)


def bentoml_batching(folder: Path) -> Server:
    """BentoML with its adaptive batching."""
    return _bentoml("BentoML, batching", folder, batchable=True)


def _bentoml(name: str, folder: Path, *, batchable: bool) -> Server:
    programs = environment("bentoml")
    model = folder / "iris.joblib"
    train(str(programs / "python"), model)
    (folder / "service.py").write_text(
        _BENTO.format(model=str(model), batchable=batchable, size=BATCH)
    )
    return bentoml_of(name, programs, folder, "Iris", json.dumps({"x": [[*ROW.values()]]}))


SERVERS: dict[str, Callable[[Path], Server]] = {
    "package": package_instance,
    "package-one-by-one": one_by_one_instance,
    "default": default_instance,
    "mlserver": mlserver,
    "mlserver-batching": mlserver_batching,
    "bentoml": bentoml,
    "bentoml-batching": bentoml_batching,
    "flask": flask,
}
