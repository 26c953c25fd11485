"""Paths of objects, in every documented form, to a bucket and a key (inference.md §2.2).

Pure: nothing is looked up, and the store's address in an ``https://`` form is never contacted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from modelyard.errors import Problem, refuse

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,62}")
_HOST_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_DOMAIN = re.compile(rf"{_HOST_LABEL}(?:\.{_HOST_LABEL})+", re.IGNORECASE)
_FORMS = "obs://bucket/key, s3://bucket/key, /bucket/key or https://bucket.domain/key"
_LONGEST = 1024


@dataclass(frozen=True, slots=True)
class ObjectPath:
    """An object or, as a prefix, a folder. ``key`` has no slash at its ends; "" is the bucket."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"obs://{self.bucket}/{self.key}"

    def child(self, relative: str) -> ObjectPath:
        """The object at ``relative`` below this folder."""
        return ObjectPath(self.bucket, f"{self.key}/{relative}" if self.key else relative)


def parse_path(text: str, field: str, *, blanks: bool = False) -> ObjectPath:
    """The bucket and key that ``text``, the value of ``field``, names.

    ``blanks``: keys may hold blanks and backslashes, as those of objects do that are there already.

    Raises ``InvalidRequest`` 3572, 3573 for one that names no bucket.
    """
    fault = _character_fault(text, blanks) if text else "is empty"
    if fault:
        raise _bad(field, fault)
    bucket, key = _split(text, field)
    if not bucket:
        raise refuse([Problem(field, "names no bucket", f"Write {_FORMS}.", code="3573")])
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        raise _bad(
            field,
            f"{bucket[:70]!r} is no bucket name",
            "Bucket names have 2 to 63 lower-case letters, digits, '-' and '.'.",
        )
    key = key.strip("/")
    # Decoding an https path may have brought new characters to light.
    fault = _character_fault(key, blanks) or _segment_fault(key)
    if fault:
        raise _bad(field, fault)
    return ObjectPath(bucket, key)


def segment_fault(segment: str) -> str | None:
    """What is wrong with one part of a key as the name of a file; None when nothing is."""
    if segment in (".", ".."):
        return f"has the part {segment!r}"
    if not segment:
        return "has an empty part"
    if any(ord(char) < 32 or ord(char) == 127 for char in segment):
        return f"has a control character in {segment[:60]!r}"
    try:
        length = len(segment.encode())
    except UnicodeEncodeError:
        return "is not valid text"
    return f"has a part of {length} bytes (255 at most)" if length > 255 else None


def _split(text: str, field: str) -> tuple[str, str]:
    scheme, mark, rest = text.partition("://")
    if not mark:
        if not text.startswith("/"):
            raise _bad(field, f"{text[:80]!r} is not an object path")
        bucket, _, key = text[1:].partition("/")
        return bucket, key
    if scheme.lower() in ("obs", "s3"):
        bucket, _, key = rest.partition("/")
        return bucket, key
    if scheme.lower() == "https":
        return _split_url(text, field)
    raise _bad(field, f"{scheme[:20]!r} is not a scheme of object paths")


def _split_url(text: str, field: str) -> tuple[str, str]:
    try:
        url = urlsplit(text)
        host = url.hostname or ""
        _ = url.port
    except ValueError:
        raise _bad(field, "is not a valid URL") from None
    if url.username is not None or url.query or url.fragment:
        raise _bad(field, "may hold no user, query or fragment")
    bucket, _, domain = host.partition(".")
    if not _DOMAIN.fullmatch(domain) or domain.rpartition(".")[2].isdigit():
        raise _bad(field, "needs the form https://bucket.domain/key")
    return bucket, unquote(url.path)


def _character_fault(text: str, blanks: bool) -> str | None:
    if len(text) > _LONGEST:
        return f"is longer than {_LONGEST} characters"
    if not blanks and any(char.isspace() for char in text):
        return "contains a blank"
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        return "contains a control character"
    if not blanks and "\\" in text:
        return "contains a backslash"
    return None


def _segment_fault(key: str) -> str | None:
    if not key:
        return None
    return next((fault for part in key.split("/") if (fault := segment_fault(part))), None)


def _bad(field: str, reason: str, remedy: str = f"Write {_FORMS}.") -> Exception:
    return refuse([Problem(field, reason, remedy, code="3572")])
