"""JSON in and out of the worker: ``orjson`` where its environment has it, else ``json``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]


def decode(text: bytes | str) -> object:
    """Parse JSON. Raises ``ValueError`` that says what is wrong and where."""
    if orjson is not None:
        try:
            return orjson.loads(text)
        except ValueError:
            pass  # the standard library takes NaN and Infinity, as clients do send them
    return json.loads(text if isinstance(text, str) else text.decode("utf-8-sig"))


def encode(value: object) -> bytes:
    """``value`` as JSON. Numpy and tensor values become lists and numbers, NaN becomes null.

    Raises ``TypeError`` or ``ValueError`` for what cannot be told in JSON.
    """
    if orjson is not None:
        try:
            return orjson.dumps(value, simple, orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
        except TypeError:
            pass  # a key, number or text that only the slow way below can tell
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(plain(value), allow_nan=False).encode()


def _called(value: object, name: str) -> object:
    method: Callable[[], object] = getattr(value, name)
    return method()


def simple(value: object) -> object:
    """A foreign value as something nearer to JSON, one step. Raises ``TypeError``."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode()
    if isinstance(value, type):
        raise TypeError(f"a class ({value.__qualname__}) cannot be told in JSON")
    for name in ("tolist", "item", "numpy", "asnumpy", "to_dict", "isoformat"):
        if callable(getattr(value, name, None)):
            return _called(value, name)
    if isinstance(value, Iterable):
        return list(value)
    if hasattr(value, "__float__"):
        return float(value)
    if hasattr(value, "__fspath__"):
        return str(value)
    raise TypeError(f"a {type(value).__module__}.{type(value).__qualname__} cannot be told in JSON")


def plain(value: object) -> object:
    """``value`` in lists, dicts and scalars only. Pure."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return plain(simple(value))


def _key(key: object) -> str:
    if isinstance(key, str):
        return str(key)
    told = plain(key)
    return told if isinstance(told, str) else json.dumps(told)
