"""Handlers of packages without ``customize_service.py`` (models.md §9; most are ours).

::

    SingleNodeService
    ├── TensorService        named tensors in and out (``tensors``)
    │   ├── OnnxService        ONNX: onnxruntime
    │   └── SavedModelService  TensorFlow: a SavedModel's signature
    └── XgSklServingBaseService
        └── DefaultService   Scikit_Learn, XGBoost, Pickle, Joblib: anything with ``predict``
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from modelyard_instance.inference.base_services import (
    Data,
    DefaultService,
    SingleNodeService,
    TfServingBaseService,
)
from modelyard_instance.inference.engines import need
from modelyard_instance.inference.payloads import BadRequest
from modelyard_instance.inference.tensors import TensorSpec, read_inputs, write_outputs

_ONNX_TYPES = {
    "float": "float32",
    "double": "float64",
    "float16": "float16",
    "string": "object",
}


def default_handler(model_type: str) -> type[SingleNodeService] | None:
    """The class that serves a package of ``model_type`` without a script; None: it needs one."""
    return _HANDLERS.get(model_type.lower())


class TensorService(SingleNodeService):
    """A model that takes named tensors and gives named tensors."""

    def specs(self) -> list[TensorSpec]:
        """The model's inputs."""
        raise NotImplementedError

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Numpy arrays by input's name to arrays by output's name."""
        raise NotImplementedError

    def warm_up(self) -> None:
        self.specs()

    def inference(self, data: Data) -> Data:
        numpy = need("numpy", type(self).__name__)
        specs = self.specs()
        values, form = read_inputs(data, specs)
        arrays = {}
        for one in specs:
            try:
                arrays[one.name] = numpy.asarray(values[one.name], dtype=one.dtype)
            except (ValueError, TypeError) as error:
                raise BadRequest(f"{one.name} cannot be read as {one.dtype}: {error}") from error
            if not one.takes(arrays[one.name].shape):
                raise BadRequest(
                    f"{one.name} has the shape {list(arrays[one.name].shape)}, the model wants "
                    f"{list(one.shape)}"
                )
        outputs = {name: _listed(value) for name, value in self.run(arrays).items()}
        return write_outputs(outputs, form, data)


class OnnxService(TensorService):
    """ONNX: the model file in an onnxruntime session with as many threads as the instance has."""

    _session: Any = None

    def _loaded(self) -> Any:
        if self._session is None:
            runtime = need("onnxruntime", "an ONNX model")
            options = runtime.SessionOptions()
            options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
            options.inter_op_num_threads = 1
            self._session = runtime.InferenceSession(
                self.model_path, options, providers=runtime.get_available_providers()
            )
        return self._session

    def specs(self) -> list[TensorSpec]:
        return [
            TensorSpec(
                one.name,
                _numpy_type(one.type),
                tuple(size if isinstance(size, int) else None for size in one.shape),
            )
            for one in self._loaded().get_inputs()
        ]

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        session = self._loaded()
        names = [one.name for one in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(arrays)), strict=True))


class SavedModelService(TensorService, TfServingBaseService):
    """TensorFlow: the signature of the SavedModel in the folder; the package ``tensorflow``."""

    def specs(self) -> list[TensorSpec]:
        expected = self._loaded().structured_input_signature[1]
        return [
            TensorSpec(name, one.dtype.as_numpy_dtype.__name__, tuple(one.shape))
            for name, one in expected.items()
        ]

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        outputs: dict[str, Any] = self._inference(arrays)
        return outputs


def _numpy_type(onnx_type: str) -> str:
    """``tensor(float)`` as numpy's name of it. Pure."""
    inner = onnx_type.removeprefix("tensor(").removesuffix(")")
    return _ONNX_TYPES.get(inner, inner)


def _listed(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


_HANDLERS: dict[str, type[SingleNodeService]] = {
    "scikit_learn": DefaultService,
    "xgboost": DefaultService,
    "pickle": DefaultService,
    "joblib": DefaultService,
    "onnx": OnnxService,
    "tensorflow": SavedModelService,
}
