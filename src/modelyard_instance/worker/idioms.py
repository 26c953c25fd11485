"""Packages' own ``_inference`` that is no more than what the base class does anyway.

Most scripts for scikit-learn and XGBoost spell it out: ``return self.model.predict(data)``. Known
by its code, such a method is as good as the base class's: its rows may be computed together.
"""

from __future__ import annotations

import sys
from types import CodeType, FunctionType
from typing import Any

# The idioms, as their authors write them. Never called: only their code is looked at.


def _at_once(self: Any, data: Any) -> Any:
    return self.model.predict(data)


def _by_name(self: Any, data: Any) -> Any:
    result = self.model.predict(data)
    return result  # noqa: RET504


def _as_array(self: Any, data: Any) -> Any:
    return self.model.predict(numpy.array(data))  # type: ignore[name-defined]  # noqa: F821


def _as_array_by_name(self: Any, data: Any) -> Any:
    result = self.model.predict(numpy.array(data))  # type: ignore[name-defined]  # noqa: F821
    return result  # noqa: RET504


def _array_first(self: Any, data: Any) -> Any:
    data = numpy.array(data)  # type: ignore[name-defined]  # noqa: F821
    return self.model.predict(data)


def _array_first_by_name(self: Any, data: Any) -> Any:
    data = numpy.array(data)  # type: ignore[name-defined]  # noqa: F821
    result = self.model.predict(data)
    return result  # noqa: RET504


_IDIOMS = (
    *(_at_once, _by_name, _as_array, _as_array_by_name),
    *(_array_first, _array_first_by_name),
)
_SAME_ARRAY = frozenset(("array", "asarray"))


def only_predicts(method: object) -> bool:
    """Whether ``method`` is the plain function ``predict`` of ``self.model`` on ``data``. Pure."""
    if not isinstance(method, FunctionType) or method.__defaults__ or method.__kwdefaults__:
        return False
    return any(_alike(method, idiom.__code__) for idiom in _IDIOMS)


def _alike(method: FunctionType, idiom: CodeType) -> bool:
    code = method.__code__
    if code.co_code != idiom.co_code or len(code.co_names) != len(idiom.co_names):
        return False
    if (code.co_argcount, code.co_flags & ~_OF_NO_MATTER) != (
        idiom.co_argcount,
        idiom.co_flags & ~_OF_NO_MATTER,
    ):
        return False
    return all(
        _same_name(method, name, meant)
        for name, meant in zip(code.co_names, idiom.co_names, strict=True)
    )


# ``from __future__ import annotations`` and the like leave their mark on every function of a file.
_OF_NO_MATTER = 0x01FF0000


def _same_name(method: FunctionType, name: str, meant: str) -> bool:
    if meant == "numpy":
        numpy = sys.modules.get("numpy")
        return numpy is not None and method.__globals__.get(name) is numpy
    return name == meant or (meant == "array" and name in _SAME_ARRAY)
