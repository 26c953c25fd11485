"""What the package's ``config.json`` says that matters while it serves (models.md §3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

SCRIPT = "customize_service"


class BadConfig(ValueError):
    """``config.json`` cannot be used; the message names the file and the place in it."""


def normal_url(url: str) -> str:
    """``url`` with one leading slash and none at the end; the root is ``/``."""
    return "/" + url.strip().strip("/")


def parse_config(text: bytes, name: str = "config.json") -> dict[str, object]:
    """A ``config.json`` as a mapping. Raises ``BadConfig``. Pure."""
    try:
        config = json.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadConfig(f"{name}: not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise BadConfig(
            f"{name}, line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    if not isinstance(config, dict):
        raise BadConfig(f"{name}: not a JSON object")
    return config


def parse_apis(text: bytes, name: str = "config.json") -> dict[str, frozenset[str]]:
    """Url → methods of a ``config.json`` (``apis_of``). Raises ``BadConfig``. Pure."""
    return apis_of(parse_config(text, name), name)


def apis_of(config: Mapping[str, object], name: str = "config.json") -> dict[str, frozenset[str]]:
    """Url → methods of a parsed ``config.json`` (models.md §3.1). Pure.

    No ``apis``, or an empty list, is one api at ``/``; no ``method`` is POST. Content types and
    unknown keys are not judged (models.md §9). Raises ``BadConfig``.
    """
    declared = config.get("apis") or [{}]
    if isinstance(declared, dict):
        declared = [declared]
    if not isinstance(declared, list):
        raise BadConfig(f"{name}: apis is not a list")
    found: dict[str, set[str]] = {}
    for number, api in enumerate(declared):
        if not isinstance(api, dict):
            raise BadConfig(f"{name}: apis[{number}] is not an object")
        url, method = api.get("url") or "/", api.get("method") or "post"
        if not isinstance(url, str) or not isinstance(method, str):
            raise BadConfig(f"{name}: apis[{number}] has a url or method that is no text")
        found.setdefault(normal_url(url), set()).add(method.strip().upper())
    return {url: frozenset(methods) for url, methods in found.items()}


def response_type(config: Mapping[str, object]) -> str:
    """The content type of the first api's answers as declared, or an empty text. Pure."""
    declared = config.get("apis")
    first = declared[0] if isinstance(declared, list) and declared else declared
    response = first.get("response") if isinstance(first, dict) else None
    if not isinstance(response, dict):
        return ""
    return next((str(v) for k, v in response.items() if str(k).lower() == "content-type"), "")


def read_config(model_dir: Path) -> dict[str, object]:
    """The ``config.json`` of the package at ``model_dir``. Raises ``BadConfig``."""
    path = model_dir / "config.json"
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror}") from error
    return parse_config(text, str(path))
