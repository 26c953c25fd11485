"""Tags of a service: their rules, and the list filter (resources.md §7); pure."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.domain.body_reader import Fields, Problems
from modelyard.errors import InvalidRequest, Problem

TAGS_LIMIT = 20
"""Tags one service may have."""
_KEY_LIMIT, _VALUE_LIMIT = 128, 255
_IN_KEY = frozenset(" _.:=+-@")
_IN_VALUE = _IN_KEY | {"/"}
_RESERVED = "_sys_"
_FORM = 'Send {"tags": [{"key": …, "value": …}]}.'


@dataclass(frozen=True, slots=True)
class Tag:
    """``value`` None: whatever it is."""

    key: str
    value: str | None = None


def read_tags(body: object) -> tuple[tuple[Tag, ...], list[Problem]]:
    """The tags that a body names, or the problems."""
    problems = Problems()
    if not isinstance(body, dict):
        problems.invalid("body", "is not a JSON object", _FORM)
        return (), problems.found
    fields = Fields(body, "", problems)
    fields.only(("tags",), _FORM)
    items = fields.array("tags", required=True)
    if items is not None and not 0 < len(items) <= TAGS_LIMIT:
        problems.invalid("tags", f"has {len(items)} elements", f"Send 1 to {TAGS_LIMIT}.")
        return (), problems.found
    tags = [_tag(item, f"tags[{index}]", problems) for index, item in enumerate(items or ())]
    good = tuple(tag for tag in tags if tag is not None)
    seen: set[str] = set()
    for index, tag in enumerate(good):
        if tag.key in seen:
            problems.invalid(f"tags[{index}].key", "is there twice", "Name each key once.")
        seen.add(tag.key)
    return good, problems.found


def _tag(item: object, where: str, problems: Problems) -> Tag | None:
    if not isinstance(item, dict):
        problems.invalid(where, "is not an object", _FORM)
        return None
    fields = Fields(item, where, problems)
    fields.only(("key", "value"), "Send key and value.")
    before = len(problems.found)
    key = fields.text("key", required=True, limit=_KEY_LIMIT)
    value = fields.text("value", limit=_VALUE_LIMIT)
    if key is not None:
        _judge(fields.name("key"), key, _IN_KEY, problems)
        if key != key.strip():
            problems.invalid(fields.name("key"), "begins or ends with a space", "Trim it.")
        if key.startswith(_RESERVED):
            problems.invalid(fields.name("key"), f"begins with {_RESERVED}", "Rename it.")
    if value is not None:
        _judge(fields.name("value"), value, _IN_VALUE, problems)
    return Tag(key, value) if key is not None and len(problems.found) == before else None


def _judge(name: str, text: str, special: frozenset[str], problems: Problems) -> None:
    bad = sorted({c for c in text if not (c.isalpha() or c.isdigit() or c in special)})
    if bad:
        shown = " ".join(repr(c) for c in bad[:5])
        remedy = f"Use letters, digits, spaces and {' '.join(sorted(special - {' '}))}."
        problems.invalid(name, f"contains {shown}", remedy)


def read_filter(text: str) -> tuple[tuple[Tag, ...], ...]:
    """What ``?tags=`` asks for: every term must hold, by any of its readings.

    Terms are ``key`` or ``key=value``, separated by commas. A key may contain ``=`` itself, hence
    several readings. Raises ``InvalidRequest`` for more terms than a service may have tags.

    >>> read_filter("env=a")
    ((Tag(key='env=a', value=None), Tag(key='env', value='a')),)
    """
    terms = {term.strip() for term in text.split(",")} - {""}
    if len(terms) > TAGS_LIMIT:
        raise InvalidRequest(
            f"tags: names {len(terms)} tags. Send at most {TAGS_LIMIT}.", field="tags"
        )
    return tuple(_readings(term) for term in sorted(terms))


def _readings(term: str) -> tuple[Tag, ...]:
    # No key is longer, so that the readings of a long term are few.
    head = term[: _KEY_LIMIT + 1]
    cuts = [index for index, character in enumerate(head) if character == "="]
    return (Tag(head), *(Tag(term[:cut], term[cut + 1 :]) for cut in cuts))
