"""Custom images: their addresses, their commands, and what is known of one; pure."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_ADDRESS = re.compile(
    r"(?:(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*(?::\d{1,5})?)/)??"
    rf"(?P<path>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)
_SHELL = re.compile(r"[&|;<>$`*?~\n]")
_LITERAL = re.compile(r"'[^']*'|\\.")
_QUOTED = re.compile(r'"([^"]*)"')


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """An image in the local engine. ``size`` in bytes; ``ports``: those that it says it opens."""

    image_id: str
    size: int
    ports: tuple[int, ...] = ()


def address_fault(address: str) -> str | None:
    """Why ``address`` names no image; None when it does."""
    if len(address) > 512:
        return "is longer than 512 characters"
    if not _ADDRESS.fullmatch(address):
        return f"{address[:80]!r} is not the address of an image"
    return None


def registry_of(address: str) -> str:
    """The registry's host and port as the address names it; "" when it names none."""
    first, slash, _ = address.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost")
    return first.lower() if named else ""


def command_words(command: str) -> list[str]:
    """The words to start; empty when the quotation marks do not match, or nothing is there.

    A line with the marks of a shell outside its quotation marks is handed to ``/bin/sh``.
    """
    bare = _QUOTED.sub(lambda found: re.sub(r"[^$`]", "", found[1]), _LITERAL.sub("", command))
    if _SHELL.search(bare):
        return ["/bin/sh", "-c", command]
    try:
        return shlex.split(command)
    except ValueError:
        return []
