"""Requests that have queued, computed as one; each is answered as if it had come alone.

Nobody waits: a batch is what came while the last one ran. Without being asked (``options``) that
is done only where it cannot be told from outside: the base class computes the rows, or a method
that does just the same (``idioms``), the model is one whose rows do not touch each other, and the
package's own hooks keep nothing from one request to the next. Whatever goes wrong in a batch, its
requests are computed again one by one.
"""

from __future__ import annotations

import dis
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

from modelyard_instance.headers import RequestHeader
from modelyard_instance.inference.base_services import SingleNodeService, XgSklServingBaseService
from modelyard_instance.inference.metrics import MetricsManager
from modelyard_instance.worker.handler import Answer, finish, handle, read, script_error
from modelyard_instance.worker.idioms import only_predicts
from modelyard_instance.worker.options import Options
from modelyard_instance.worker.rows import Unbatchable, joined, number_width, parted

logger = logging.getLogger(__name__)

BY_DEFAULT = 64
_WRITES = frozenset(("STORE_ATTR", "DELETE_ATTR", "STORE_GLOBAL", "DELETE_GLOBAL"))
_CONSTANT = (
    *(str, bytes, int, float, complex, bool, type(None), type, ModuleType, FunctionType),
    BuiltinFunctionType,
)
# Distances of several rows are computed together, and ties may fall the other way.
_APART = ("sklearn.neighbors", "sklearn.preprocessing._function_transformer")
_ENGINES = ("sklearn", "xgboost", "modelyard_instance")
_EXACT = ("sklearn.tree", "xgboost", "modelyard_instance")
_REFLECTION = frozenset(
    ("setattr", "delattr", "vars", "__dict__", "globals", "locals", "exec", "eval")
)


class CannotBatch(ValueError):
    """``config.json`` asks for batching of a class that leaves no room for it."""


class Batcher:
    """Answers several requests at once; ``size`` at most."""

    def __init__(self, service: SingleNodeService, size: int, *, asked: bool) -> None:
        self.size = size
        self._service = service
        # Unasked, only rows of plain numbers go together.
        self._asked = asked
        self._told = False

    def answer(self, frames: Sequence[tuple[bytes, bytes]]) -> list[Answer]:
        """The answers to ``frames`` in their order."""
        service = self._service
        asked = [(RequestHeader.decode(header), body) for header, body in frames]
        if len(asked) == 1:
            return [handle(service, *asked[0])]
        answers: list[Answer | None] = [None] * len(frames)
        requests: list[object] = [None] * len(frames)
        batch: list[tuple[int, Any]] = []
        for place, (header, body) in enumerate(asked):
            if header.hook or header.v2 is not None:  # another way to predict; computed alone
                continue
            try:
                data, requests[place] = read(service, header, body)
                batch.append((place, service._preprocess(data)))
            except (Exception, SystemExit) as error:
                answers[place] = script_error(error)
        for place, part in self._computed(batch):
            try:
                result = service._postprocess(part)
            except (Exception, SystemExit) as error:
                answers[place] = script_error(error)
            else:
                answers[place] = finish(service, result, requests[place])
        return [
            handle(service, *request) if answer is None else answer
            for request, answer in zip(asked, answers, strict=True)
        ]

    def _computed(self, batch: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
        """Each request's part of the result; those left out are computed one by one."""
        if not self._asked and batch:
            width = next((found for _, rows in batch if (found := number_width(rows))), 0)
            batch = [one for one in batch if width and number_width(one[1]) == width]
        if len(batch) < 2:
            return []
        begin = time.perf_counter()
        try:
            rows, counts = joined([value for _, value in batch])
            parts = parted(self._service._inference(rows), counts)
        except Unbatchable as error:
            if not self._told:
                self._told = True
                logger.warning("requests are computed one by one: %s", error)
            return []
        except (Exception, SystemExit):
            # One of them is the cause; computed alone, only that one fails, and says why.
            return []
        took = time.perf_counter() - begin
        for _ in batch:
            MetricsManager.note(self._service.model_name, 0.0, took, took)
        return [(place, part) for (place, _), part in zip(batch, parts, strict=True)]


def batcher_for(service: SingleNodeService, options: Options) -> Batcher | None:
    """How ``service`` may be batched, if at all.

    Raises ``CannotBatch`` when the package asks for what cannot be.
    """
    kind = type(service)
    whole = kind.inference is not SingleNodeService.inference
    if options.batch:
        if whole and kind.__module__.partition(".")[0] == "modelyard_instance":
            raise CannotBatch(
                "config.json asks for batching, which models without a customize_service.py that "
                "take named tensors have not; remove it, or add a script with _inference()"
            )
        if whole:
            raise CannotBatch(
                f"config.json asks for batching, but {kind.__name__} overrides inference(), so "
                "there is no _inference() to be given several requests; remove one of the two"
            )
        return Batcher(service, options.batch, asked=True) if options.batch > 1 else None
    if whole or not isinstance(service, XgSklServingBaseService):
        return None
    own = kind._inference is not XgSklServingBaseService._inference
    if own and not (only_predicts(kind._inference) and "model" in vars(service)):
        return None
    if service.model is None:
        return None
    if not rows_apart(service.model) or not keeps_nothing(service):
        return None
    return Batcher(service, BY_DEFAULT, asked=False)


def rows_apart(model: object) -> bool:
    """Whether ``model.predict`` gives a row the same result whatever lies beside it, to the bit.

    Classifiers and trees of scikit-learn and XGBoost do. Sums of a regression may differ in their
    last bit with the number of rows, and what a package defines itself is not known to us.
    """
    for one in _estimators(model):
        module = type(one).__module__
        if module.partition(".")[0] not in _ENGINES or module.startswith(_APART):
            return False
    steps = getattr(model, "steps", None)
    last = steps[-1][1] if steps else model
    return type(last).__module__.startswith(_EXACT) or hasattr(last, "classes_")


def _estimators(model: object) -> Iterator[object]:
    """``model`` and everything it is made of."""
    yield model
    for name in ("steps", "transformers_", "transformer_list", "estimators"):
        found = getattr(model, name, None)
        for part in found if isinstance(found, list) else ():
            inner = part[1] if isinstance(part, tuple) else part
            if inner is not None and not isinstance(inner, str):
                yield from _estimators(inner)
    for name in ("estimator", "best_estimator_"):
        inner = getattr(model, name, None)
        if inner is not None and not isinstance(inner, str):
            yield from _estimators(inner)


def keeps_nothing(service: SingleNodeService) -> bool:
    """Whether the hooks of ``service`` leave nothing behind that the other one could see.

    Judged by their code: no attribute or global is written, no method of their own is called, and
    no value that could be changed in place is used by both.
    """
    kind = type(service)
    seen: list[set[str]] = []
    for name in ("_preprocess", "_postprocess"):
        hook = getattr(kind, name)
        if hook.__module__.partition(".")[0] == "modelyard_instance":
            continue
        if not isinstance(hook, FunctionType):
            return False
        names: set[str] = set()
        for code in _codes(hook.__code__):
            if any(one.opname in _WRITES for one in dis.get_instructions(code)):
                return False
            names.update(code.co_names)
        calls_own = any(isinstance(getattr(kind, one, None), FunctionType) for one in names)
        if hook.__code__.co_freevars or calls_own or names & _REFLECTION:
            return False
        seen.append(names)
    if len(seen) < 2:
        return True
    scope = vars(sys.modules[kind.__module__])
    return all(_constant(service, scope, name) for name in seen[0] & seen[1])


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _codes(one)


def _constant(service: object, scope: dict[str, object], name: str) -> bool:
    """Whether what ``name`` may stand for cannot be changed in place."""
    missing = "a name of neither"
    return all(
        isinstance(value, _CONSTANT)
        or (isinstance(value, tuple | frozenset) and all(isinstance(x, _CONSTANT) for x in value))
        for value in (getattr(service, name, missing), scope.get(name, missing))
    )
