"""``python -m modelyard_instance.worker.rehearse``: one prediction, and what its result is made of.

For ``modelyard check``: loads the package as a worker does, answers the request in ``--request``
(a frame: one line of header, then the body), and writes to ``--out`` what the answer's conversion
to JSON would hide: types that are no JSON, numbers that are none. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from modelyard_instance.headers import RequestHeader
from modelyard_instance.spec import read_spec
from modelyard_instance.worker.handler import read
from modelyard_instance.worker.home import show_package_at_home
from modelyard_instance.worker.loader import load

_MOST = 10_000
_PLAIN = (str, int, float, bool, type(None))


def oddities(result: object) -> Iterator[tuple[str, str, str]]:
    """``(kind, place, type)`` of what is ``foreign`` to JSON, or ``nan``, or an odd ``key``. Pure.

    Looks at the first values of large results only.
    """
    stack: list[tuple[object, str]] = [(result, "answer")]
    for _ in range(_MOST):
        if not stack:
            return
        value, place = stack.pop()
        if isinstance(value, float) and not math.isfinite(value):
            yield "nan", place, str(value)
        if type(value) in _PLAIN:
            continue
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if not isinstance(key, str):
                    yield "key", place, _type(key)
                stack.append((inner, f"{place}.{key}"))
        elif isinstance(value, list | tuple):
            stack.extend((inner, f"{place}[{i}]") for i, inner in enumerate(value[:_MOST]))
        else:
            yield "foreign", place, _type(value)
            listed = getattr(value, "tolist", None)
            if callable(listed):
                stack.extend(
                    (inner, place) for inner in _flat(listed()) if isinstance(inner, float)
                )


def _flat(value: object) -> list[object]:
    flat: list[object] = []
    stack = [value]
    while stack and len(flat) < _MOST:
        one = stack.pop()
        if isinstance(one, list):
            stack.extend(one)
        else:
            flat.append(one)
    return flat


def _type(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def main() -> int:
    """Exit status: 0 it answered; whatever the package raises ends the process."""
    parser = argparse.ArgumentParser(prog="modelyard_instance.worker.rehearse")
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--request", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    spec = read_spec(arguments.dir)
    show_package_at_home(spec)
    work = arguments.dir / "work"
    work.mkdir(exist_ok=True)
    os.chdir(work)
    sys.argv = ["modelyard_instance.worker.rehearse"]
    service = load(spec)
    header, _, body = arguments.request.read_bytes().partition(b"\n")
    data, _ = read(service, RequestHeader.decode(header), body)
    found = sorted(set(oddities(service.inference(data))))
    arguments.out.write_text(json.dumps(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
