"""Text from models and machines, made fit for a database and for people."""

from __future__ import annotations

LONGEST = 2_000


def storable_text(text: str) -> str:
    """At most ``LONGEST`` characters, without NUL and lone surrogates."""
    clean = text.replace("\0", "").encode("utf-8", errors="replace").decode()
    return clean if len(clean) <= LONGEST else f"{clean[: LONGEST - 1]}…"
