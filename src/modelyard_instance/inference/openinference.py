"""The Open Inference Protocol, version 2 over REST, for models of rows with a default handler.

Beside the package's own apis, under ``/v2``: server and model metadata, health, and ``infer``. The
front answers everything but ``infer``, which the worker computes (``infer``). Tensors are JSON; the
binary extension is not spoken. Errors are ``{"error": …}``, as the protocol has them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard_instance.inference.base_services import DefaultService, SingleNodeService
from modelyard_instance.inference.codec import decode, encode

_NUMBERS = {
    **dict.fromkeys(
        ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"), int
    ),
    **dict.fromkeys(("FP16", "FP32", "FP64"), float),
    "BOOL": bool,
}
_OUTPUTS = ("predict", "predict_proba")


class BadTensors(ValueError):
    """The request's tensors cannot be used; the message is for the caller."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a path under ``/v2`` means: ``what`` of ``server``, ``live``, ``ready``, ``model``,
    ``model-ready``, ``infer``; the model's name and version where the path has them."""

    what: str
    name: str = ""
    version: str = ""

    @property
    def method(self) -> bytes:
        return b"POST" if self.what == "infer" else b"GET"


def target_of(path: str) -> Target | None:
    """The meaning of ``path``, None when it has none. Pure."""
    parts = path.strip("/").split("/")
    match parts:
        case ["v2"]:
            return Target("server")
        case ["v2", "health", "live" | "ready" as what]:
            return Target(what)
        case ["v2", "models", name, "versions", version, *rest]:
            pass
        case ["v2", "models", name, *rest]:
            version = ""
        case _:
            return None
    match rest:
        case []:
            return Target("model", name, version)
        case ["ready"]:
            return Target("model-ready", name, version)
        case ["infer"]:
            return Target("infer", name, version)
    return None


def described(service: SingleNodeService) -> dict[str, Any] | None:
    """Inputs and outputs of a model that speaks this protocol, None for any other."""
    if type(service) is not DefaultService or service.model is None:
        return None
    width = getattr(service.model, "n_features_in_", -1)
    proba = callable(getattr(service.model, "predict_proba", None))
    return {
        "platform": f"{service._modelyard_type.lower() or 'python'}_rows",
        "inputs": [{"name": "rows", "datatype": "FP64", "shape": [-1, int(width)]}],
        "outputs": [
            {"name": "predict", "datatype": _output_type(service.model), "shape": [-1]},
            *([{"name": "predict_proba", "datatype": "FP64", "shape": [-1, -1]}] if proba else []),
        ],
    }


def _output_type(model: Any) -> str:
    classes = getattr(model, "classes_", None)
    return "FP64" if classes is None else datatype(getattr(classes, "dtype", None))


def datatype(dtype: Any) -> str:
    """The protocol's name of a numpy type; anything but numbers is ``BYTES``. Pure."""
    kind, size = getattr(dtype, "kind", "O"), getattr(dtype, "itemsize", 8)
    names = {"i": "INT", "u": "UINT", "f": "FP"}
    if kind == "b":
        return "BOOL"
    return f"{names[kind]}{8 * size}" if kind in names else "BYTES"


def rows_of(request: object) -> list[list[Any]]:
    """The rows in a request: one tensor of two dimensions, or several of one as columns. Pure.

    Raises ``BadTensors``.
    """
    inputs = request.get("inputs") if isinstance(request, Mapping) else None
    if not isinstance(inputs, list) or not inputs:
        raise BadTensors("inputs must be a list of tensors")
    tensors = [_tensor(one) for one in inputs]
    if len(tensors) == 1 and len(tensors[0][0]) == 2:
        (count, width), data = tensors[0]
        return [data[at * width : (at + 1) * width] for at in range(count)]
    columns = [data for shape, data in tensors if math.prod(shape[1:]) == 1]
    if len(columns) != len(tensors) or len({len(one) for one in columns}) != 1:
        raise BadTensors("send one tensor of shape [rows, columns], or one of [rows] per column")
    return [list(row) for row in zip(*columns, strict=True)]


def _tensor(one: object) -> tuple[list[int], list[Any]]:
    if not isinstance(one, Mapping):
        raise BadTensors("each input is an object with name, shape, datatype and data")
    name, shape, kind, data = (one.get(key) for key in ("name", "shape", "datatype", "data"))
    if not isinstance(shape, list) or not shape or not all(type(n) is int and n > 0 for n in shape):
        raise BadTensors(f"input {name!r}: shape must be a list of sizes above 0")
    convert = _NUMBERS.get(str(kind))
    if convert is None and kind != "BYTES":
        raise BadTensors(f"input {name!r}: datatype {kind!r} is not one of the protocol's")
    if not isinstance(data, list):
        raise BadTensors(f"input {name!r}: data must be a list")
    flat = _flat(data)
    if len(flat) != math.prod(shape):
        raise BadTensors(f"input {name!r}: {len(flat)} values for the shape {shape}")
    try:
        return shape, [convert(value) for value in flat] if convert else flat
    except (TypeError, ValueError) as error:
        raise BadTensors(f"input {name!r}: {error}") from error


def _flat(data: Sequence[Any]) -> list[Any]:
    if not any(isinstance(one, list) for one in data):
        return list(data)
    found: list[Any] = []
    for one in data:
        found += _flat(one) if isinstance(one, list) else [one]
    return found


def infer(service: SingleNodeService, body: bytes, version: str) -> bytes:
    """The answer to an ``infer`` request. Raises ``BadTensors``, and what the model raises."""
    try:
        request = decode(body)
    except (ValueError, RecursionError) as error:
        raise BadTensors(f"not valid JSON: {error}") from error
    rows = rows_of(request)
    assert isinstance(request, Mapping)
    wanted = request.get("outputs") or [{"name": "predict"}]
    if not isinstance(wanted, list) or not all(isinstance(one, Mapping) for one in wanted):
        raise BadTensors("outputs must be a list of objects with a name")
    model: Any = getattr(service, "model", None)
    outputs = []
    for name in (one.get("name") for one in wanted):
        if name not in _OUTPUTS or not callable(getattr(model, str(name), None)):
            raise BadTensors(f"the model has no output {name!r}")
        found = getattr(model, str(name))(rows)
        shape = list(getattr(found, "shape", (len(found),)))
        data = _flat(found.tolist() if hasattr(found, "tolist") else list(found))
        kind = datatype(getattr(found, "dtype", None))
        outputs.append({"name": name, "shape": shape, "datatype": kind, "data": data})
    answer: dict[str, Any] = {
        "model_name": service.model_name,
        "model_version": version,
        "outputs": outputs,
    }
    if isinstance(request.get("id"), str):
        answer["id"] = request["id"]
    return encode(answer)


def error(message: str) -> bytes:
    """The body of an answer that says what is wrong."""
    return encode({"error": message})
