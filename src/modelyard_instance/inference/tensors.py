"""Requests of packages without a script whose model takes named tensors (ours; models.md §3.2).

=============================================  ==================================================
request                                        answer
=============================================  ==================================================
``{input: values, …}``, every input by name    ``{output: values, …}``
``{"data": {"req_data": [row, …]}}`` or bare    ``{"data": {"resp_data": [{output: value}, …]}}``
``{"instances": [row, …]}``                    ``{"predictions": [{output: value}, …]}``
=============================================  ==================================================

A row is an object whose keys are the model's inputs; where the model has one input, a row may also
be its values as a list, or an object whose values are taken in the order sent. Pure, and without
any library: the engine's handler makes arrays of the values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard_instance.inference.payloads import BadRequest

NAMED, ROWS, BARE_ROWS, INSTANCES = "named", "rows", "bare rows", "instances"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input of a model. ``shape`` without its sizes that may vary: those are None.

    ``dtype`` is numpy's name of the type.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    @property
    def a_column(self) -> bool:
        """Whether it takes one value of each row: shape (rows, 1)."""
        return len(self.shape) == 2 and self.shape[1] == 1

    def takes(self, shape: Sequence[int]) -> bool:
        """Whether an array of ``shape`` is one that the model can be given."""
        return len(shape) == len(self.shape) and all(
            wanted in (None, size) for wanted, size in zip(self.shape, shape, strict=True)
        )


def read_inputs(data: object, specs: Sequence[TensorSpec]) -> tuple[dict[str, Any], str]:
    """The values of each input, and the form of the request. Raises ``BadRequest``."""
    if not isinstance(data, Mapping):
        raise BadRequest(f"the model's inputs are {_names(specs)}: send a JSON object with them")
    inner = data.get("data")
    if isinstance(inner, Mapping) and "req_data" in inner:
        return _from_rows(inner["req_data"], "data.req_data", specs), ROWS
    if "req_data" in data:
        return _from_rows(data["req_data"], "req_data", specs), BARE_ROWS
    if "instances" in data and all(one.name != "instances" for one in specs):
        return _from_rows(data["instances"], "instances", specs), INSTANCES
    missing = [one.name for one in specs if one.name not in data]
    if missing:
        raise BadRequest(f"the inputs {', '.join(missing)} are missing; wanted: {_names(specs)}")
    return {one.name: data[one.name] for one in specs}, NAMED


def _from_rows(rows: object, where: str, specs: Sequence[TensorSpec]) -> dict[str, Any]:
    if not isinstance(rows, list) or not rows:
        raise BadRequest(f"{where} is not a list of rows")
    names = {one.name for one in specs}
    if all(isinstance(row, Mapping) and names <= set(row) for row in rows):
        return {one.name: [_cell(row[one.name], one) for row in rows] for one in specs}
    if len(specs) != 1:
        raise BadRequest(f"each row of {where} must have the inputs {_names(specs)}")
    return {specs[0].name: [list(r.values()) if isinstance(r, Mapping) else r for r in rows]}


def _cell(value: object, spec: TensorSpec) -> object:
    return [value] if spec.a_column and not isinstance(value, list) else value


def write_outputs(outputs: Mapping[str, Any], form: str, request: object) -> object:
    """The outputs (nested lists) in the form of the request, ``meta`` echoed. Pure."""
    if form == NAMED:
        return dict(outputs)
    count = len(next(iter(outputs.values()), []))
    rows = [
        {name: value[index] for name, value in outputs.items() if len(value) == count}
        for index in range(count)
    ]
    if form == INSTANCES:
        return {"predictions": rows}
    answer: dict[str, object] = {"resp_data": rows}
    if form == ROWS:
        answer = {"data": answer}
    if isinstance(request, Mapping) and "meta" in request:
        answer = {"meta": request["meta"], **answer}
    return answer


def _names(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{one.name} ({one.dtype} {list(one.shape)})" for one in specs)
