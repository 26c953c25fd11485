"""``mapping_rule``: a JSON Schema whose leaves name columns of a CSV row (inference.md §2.4). Pure.

A leaf of type string, number, integer or boolean takes the column of its ``index``, counted from 0;
one with ``-1``, another illegal index or none is left out. ``items`` may be an object or a list of
one; an array yields one element per row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isinf

_Build = Callable[[Sequence[str]], object]
_DEEPEST = 64
_SHOWN = 60
# A group is there where it is no integer literal.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(\.[0-9]*)?|(\.[0-9]+))([eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_TRUTHS = {"true": True, "false": False, "1": True, "0": False}


class BadRule(ValueError):
    """A rule that cannot be followed; ``problems`` says where and why, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class RowError(ValueError):
    """A row that the rule does not fit; the message names column and field."""


@dataclass(frozen=True, slots=True)
class Node:
    """One place of the rule. ``kind``: ``object``, ``array`` or the type of a leaf.

    ``index``: a leaf's column, None where it is left out. ``members``: of an object, in the rule's
    order. ``item``: of an array.
    """

    kind: str
    path: str
    index: int | None = None
    members: tuple[tuple[str, Node], ...] = ()
    item: Node | None = None

    @property
    def left_out(self) -> bool:
        """Whether nothing of it shows in a request."""
        return self.kind in _CASTS and self.index is None


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that can be followed. ``columns``: the ones it reads, counted from 0."""

    root: Node
    columns: frozenset[int]
    _build: _Build = field(repr=False, compare=False)
    _width: int = field(repr=False, compare=False)

    def build(self, row: Sequence[str]) -> object:
        """The request of ``row``. Raises ``RowError``."""
        if len(row) < self._width:
            raise RowError(self._too_short(row))
        try:
            return self._build(row)
        except ValueError:
            raise RowError(_first_fault(self.root, row)) from None

    def _too_short(self, row: Sequence[str]) -> str:
        leaf = next(one for one in _leaves(self.root) if (one.index or 0) >= len(row))
        width = f"{len(row)} column{'s' * (len(row) != 1)}"
        return f"The row has {width}; {leaf.path or 'the request'} needs index {leaf.index}."


def parse_rule(schema: object) -> Rule:
    """Read a ``mapping_rule``. Raises ``BadRule``."""
    problems: list[str] = []
    root = _parse(schema, "", problems, 0)
    columns = frozenset(leaf.index for leaf in _leaves(root) if leaf.index is not None)
    if not problems and not columns:
        problems.append("no parameter has an index of 0 or more: no column would be sent")
    if problems:
        raise BadRule(problems)
    return Rule(root, columns, _builder(root), max(columns) + 1)


def fits(rule: Rule, request_schema: object) -> list[str]:
    """What of ``rule`` contradicts the api's declared request schema, in words; empty: nothing."""
    found: list[str] = []
    _compare(rule.root, request_schema, found)
    return found


# Reading ----------------------------------------------------------------------------------------


def _parse(schema: object, path: str, problems: list[str], depth: int) -> Node:
    where = path or "the rule"
    if not isinstance(schema, Mapping):
        problems.append(f"{where}: not an object but {_shown(schema)}")
        return Node("string", path)
    if depth > _DEEPEST:
        problems.append(f"{where}: more than {_DEEPEST} levels deep")
        return Node("string", path)
    kind = _kind(schema)
    if kind == "object":
        return _parse_object(schema, path, problems, depth)
    if kind == "array":
        item = _item(schema.get("items"))
        if item is None:
            problems.append(f"{where}: items must be an object, or a list of exactly one")
            return Node("array", path)
        return Node("array", path, item=_parse(item, f"{path}[0]", problems, depth + 1))
    if kind not in _CASTS:
        problems.append(
            f"{where}: type {_shown(schema.get('type'))} is none of object, array, string, number, "
            "integer and boolean"
        )
        return Node("string", path)
    index = schema.get("index")
    legal = isinstance(index, int) and not isinstance(index, bool) and index >= 0
    return Node(kind, path, index=index if legal else None)


def _parse_object(
    schema: Mapping[object, object], path: str, problems: list[str], depth: int
) -> Node:
    properties = schema.get("properties", {})
    if not isinstance(properties, Mapping):
        problems.append(f"{path or 'the rule'}: properties must be an object")
        return Node("object", path)
    members = tuple(
        (str(name), _parse(inner, f"{path}.{name}" if path else str(name), problems, depth + 1))
        for name, inner in properties.items()
    )
    return Node("object", path, members=members)


def _kind(schema: Mapping[object, object]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        # Several types: the first that a column can give.
        kind = next((one for one in kind if one != "null"), None)
    if kind is None:
        if "properties" in schema:
            return "object"
        return "array" if "items" in schema else ""
    return str(kind).lower()


def _item(items: object) -> object | None:
    if isinstance(items, list):
        return items[0] if len(items) == 1 else None
    return items


def _leaves(node: Node) -> list[Node]:
    """The leaves that read a column."""
    if node.kind in _CASTS:
        return [] if node.index is None else [node]
    inner = [node.item] if node.item is not None else [one for _, one in node.members]
    return [leaf for one in inner for leaf in _leaves(one)]


# Casting ----------------------------------------------------------------------------------------


def _number(text: str) -> int | float:
    found = _NUMBER.fullmatch(text) or _NUMBER.fullmatch(text.strip())
    if found is None:
        raise ValueError
    if found.lastindex is None:
        return int(text)
    value = float(text)
    if isinf(value):
        raise ValueError
    return value


def _integer(text: str) -> int:
    text = text.strip()
    # `int` alone takes underscores and the digits of other scripts, too.
    if not _INTEGER.fullmatch(text):
        raise ValueError
    return int(text)


def _boolean(text: str) -> bool:
    value = _TRUTHS.get(text.strip().lower())
    if value is None:
        raise ValueError
    return value


_CASTS: dict[str, Callable[[str], object]] = {
    "string": str,
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
}


def _builder(node: Node) -> _Build:
    """``node`` as one function of a row that is wide enough; raises ``ValueError`` on a cast."""
    if node.kind == "object":
        members = [(name, _builder(one)) for name, one in node.members if not one.left_out]
        return lambda row: {name: build(row) for name, build in members}
    if node.kind == "array":
        item = node.item
        if item is None or item.left_out:
            return lambda row: []
        build = _builder(item)
        return lambda row: [build(row)]
    cast, index = _CASTS[node.kind], node.index or 0
    if node.kind == "string":
        return lambda row: row[index]
    return lambda row: cast(row[index])


def _first_fault(root: Node, row: Sequence[str]) -> str:
    for leaf in _leaves(root):
        text = row[leaf.index or 0]
        try:
            _CASTS[leaf.kind](text)
        except ValueError:
            article = "an" if leaf.kind == "integer" else "a"
            where = f"{leaf.path} (index {leaf.index})" if leaf.path else f"index {leaf.index}"
            return f"{where}: {_shown(text)} is not {article} {leaf.kind}."
    return "The row does not fit the rule."


# Comparing --------------------------------------------------------------------------------------


def _compare(node: Node, schema: object, found: list[str]) -> None:
    if not isinstance(schema, Mapping):
        return
    kind, where = _kind(schema), node.path or "the request"
    if kind and kind != node.kind and (node.kind, kind) != ("integer", "number"):
        found.append(f"{where}: the rule makes it {node.kind}, the api declares {kind}")
        return
    if node.kind == "array" and node.item is not None:
        _compare(node.item, _item(schema.get("items")), found)
    if node.kind != "object":
        return
    declared = schema.get("properties")
    if isinstance(declared, Mapping):
        for name, member in node.members:
            if name in declared:
                _compare(member, declared[name], found)
            elif not member.left_out and declared:
                found.append(f"{member.path}: the api declares no such parameter")
    required = schema.get("required")
    sent = {name for name, member in node.members if not member.left_out}
    for name in required if isinstance(required, list) else []:
        if name not in sent:
            prefix = f"{node.path}." if node.path else ""
            found.append(f"{prefix}{name}: the api requires it, the rule leaves it out")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
