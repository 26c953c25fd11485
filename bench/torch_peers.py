"""The servers of bench/model_server.py for ``--model mlp``: a small perceptron of torch.

As ``peers.py``, each in an environment of its own, which needs torch: set ``UV_FIND_LINKS`` where
its wheel comes from a folder. MLServer has no runtime for torch, so it gets a model class of ours,
as its documentation says.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from peers import ROW, environment, instance
from serving import BATCH, WAITING, Server, bentoml_of, gunicorn, mlserver_of

_ROW = [*ROW.values()]
_MAKE = """
import sys, torch
torch.manual_seed(0)
torch.save(torch.nn.Sequential(
    torch.nn.Linear(4, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3)).state_dict(), sys.argv[1])
"""
_LOAD = """
import torch
torch.set_num_threads(1)
def loaded(path):
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3))
    model.load_state_dict(torch.load(path))
    return model.eval()
"""
_PACKAGE = (
    _LOAD
    + """
from model_service.pytorch_model_service import PTServingBaseService
class Mlp(PTServingBaseService):
    def __init__(self, model_name, model_path):
        self.model = loaded(model_path)
    def _preprocess(self, data):
        return {"y": torch.tensor(data["x"])}
    def _inference(self, data):
        with torch.inference_mode():
            return {"y": self.model(data["y"])}
    def _postprocess(self, data):
        return {"y": data["y"].tolist()}
"""
)
_FLASK = (
    _LOAD
    + """
from flask import Flask, request
app = Flask(__name__)
model = loaded("mlp.pth")
@app.post("/")
def predict():
    with torch.inference_mode():
        return {"y": model(torch.tensor(request.get_json()["x"])).tolist()}
"""
)
_BENTO = (
    _LOAD
    + """
import bentoml, numpy as np
@bentoml.service(workers=1, traffic={{"timeout": 40}}, metrics={{"enabled": False}},
                 logging={{"access": {{"enabled": False}}}})
class Mlp:
    def __init__(self):
        self.model = loaded({model!r})
    @bentoml.api(batchable={batchable}, max_batch_size={size}, max_latency_ms=1000)
    def predict(self, x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self.model(torch.from_numpy(x.astype("float32"))).numpy()
"""
)
_MLSERVER = (
    _LOAD
    + """
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
class Mlp(MLModel):
    async def load(self) -> bool:
        self.model = loaded("mlp.pth")
        return True
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        x = NumpyCodec.decode_input(payload.inputs[0])
        with torch.inference_mode():
            y = self.model(torch.from_numpy(x)).numpy()
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("y", y)])
"""
)
_BODY = json.dumps({"x": [_ROW]})
_V2_BODY = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": _ROW}]}
)
FLOOR = (
    _LOAD
    + """
model = loaded(sys.argv[1])
row = torch.tensor([[5.1, 3.5, 1.4, 0.2]])
def predict():
    with torch.inference_mode():
        model(row)
"""
)


def make(path: Path) -> Path:
    """A file with the perceptron's weights."""
    subprocess.run([sys.executable, "-c", _MAKE, str(path)], check=True, capture_output=True)
    return path


def _package(name: str, folder: Path, config: dict[str, object]) -> Server:
    model = folder / "package" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps({"model_type": "PyTorch", **config}))
    (model / "customize_service.py").write_text(_PACKAGE)
    make(model / "mlp.pth")
    return instance(name, folder, "PyTorch", _BODY)


def package(folder: Path) -> Server:
    """Our instance of a package, as it comes."""
    return _package("Modelyard, package", folder, {})


def package_batching(folder: Path) -> Server:
    """Our instance of a package that asks for batching."""
    return _package("Modelyard, package, batching", folder, {"batching": {"max_size": BATCH}})


def flask(folder: Path) -> Server:
    """Flask behind gunicorn."""
    programs = environment("flask-torch")
    make(folder / "mlp.pth")
    (folder / "app.py").write_text(_FLASK)
    return gunicorn(programs, folder, _BODY)


def mlserver(folder: Path) -> Server:
    """MLServer with a model class of ours, without batching."""
    return _mlserver("MLServer", folder, {})


def mlserver_batching(folder: Path) -> Server:
    """The same with its adaptive batching."""
    return _mlserver("MLServer, batching", folder, WAITING)


def _mlserver(name: str, folder: Path, model: dict[str, float]) -> Server:
    programs = environment("mlserver-torch")
    make(folder / "mlp.pth")
    (folder / "mlp.py").write_text(_MLSERVER)
    settings = {"implementation": "mlp.Mlp", "name": "mlp", **model}
    return mlserver_of(name, programs, folder, settings, _V2_BODY)


def bentoml(folder: Path) -> Server:
    """BentoML, one worker."""
    return _bentoml("BentoML", folder, batchable=False)


def bentoml_batching(folder: Path) -> Server:
    """BentoML with its adaptive batching."""
    return _bentoml("BentoML, batching", folder, batchable=True)


def _bentoml(name: str, folder: Path, *, batchable: bool) -> Server:
    programs = environment("bentoml-torch")
    model = make(folder / "mlp.pth")
    (folder / "service.py").write_text(
        _BENTO.format(model=str(model), batchable=batchable, size=BATCH)
    )
    return bentoml_of(name, programs, folder, "Mlp", _BODY)


SERVERS: dict[str, Callable[[Path], Server]] = {
    "package": package,
    "package-batching": package_batching,
    "mlserver": mlserver,
    "mlserver-batching": mlserver_batching,
    "bentoml": bentoml,
    "bentoml-batching": bentoml_batching,
    "flask": flask,
}
