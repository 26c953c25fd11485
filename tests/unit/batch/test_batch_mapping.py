"""``mapping_rule``: the spec's example, every illegal thing, and rules at random (§2.4)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from modelyard.batch.dispatch.payload import encode
from modelyard.batch.formats.mapping import BadRule, RowError, fits, parse_rule

EXAMPLE = {
    "type": "object",
    "properties": {
        "data": {
            "type": "object",
            "properties": {
                "req_data": {
                    "type": "array",
                    "items": [
                        {
                            "type": "object",
                            "properties": {
                                "age": {"type": "integer", "index": 2},
                                "name": {"type": "string", "index": 0},
                                "height": {"type": "number", "index": 1},
                                "note": {"type": "string", "index": -1},
                            },
                        }
                    ],
                }
            },
        }
    },
}


def leaf(kind: str, index: object = 0) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": {"type": kind, "index": index}}}


def test_the_example_of_the_spec() -> None:
    rule = parse_rule(EXAMPLE)
    built = rule.build(["ann", "1.62", "41"])
    assert json.dumps(built) == (
        '{"data": {"req_data": [{"age": 41, "name": "ann", "height": 1.62}]}}'
    )
    assert rule.columns == {0, 1, 2}


def test_items_may_be_an_object() -> None:
    rule = parse_rule({"type": "array", "items": {"type": "number", "index": 1}})
    assert rule.build(["a", "2"]) == [2]


@pytest.mark.parametrize("index", [-1, -7, None, "0", 1.5, True])
def test_an_illegal_index_leaves_the_parameter_out(index: object) -> None:
    schema = leaf("string")
    schema["properties"]["y"] = {"type": "string", "index": index}
    schema["properties"]["z"] = {"type": "number"}
    assert parse_rule(schema).build(["a", "b"]) == {"x": "a"}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        *(("number", "41", 41), ("number", "1.62", 1.62), ("number", "-2.5e3", -2500.0)),
        *(("number", " 7 ", 7), ("number", ".5", 0.5), ("number", "+3", 3)),
        *(("integer", "-12", -12), ("integer", "9" * 30, int("9" * 30))),
        *(("boolean", "true", True), ("boolean", "FALSE", False), ("boolean", "1", True)),
        *(("boolean", "0", False), ("string", "", ""), ("string", " as is ", " as is ")),
    ],
)
def test_casts(kind: str, text: str, value: object) -> None:
    built = parse_rule(leaf(kind)).build([text])
    assert built == {"x": value}
    assert type(built["x"]) is type(value)  # type: ignore[index]
    assert json.loads(encode(built)) == {"x": value}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *(("number", text) for text in ("", "x", "nan", "inf", "1e999", "1_000", "0x1", "٣")),
        *(("integer", text) for text in ("", "1.0", "1e3", "1_0", "9" * 5000)),
        *(("boolean", text) for text in ("", "yes", "2", "on")),
    ],
)
def test_a_cast_that_fails_names_column_and_field(kind: str, text: str) -> None:
    with pytest.raises(RowError) as caught:
        parse_rule(leaf(kind)).build([text])
    assert str(caught.value).startswith("x (index 0): ")
    assert kind in str(caught.value)


def test_a_row_that_is_too_short() -> None:
    with pytest.raises(RowError, match=r"1 column; data.req_data\[0\].age needs index 2"):
        parse_rule(EXAMPLE).build(["ann"])


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("x", "not an object"),
        ({}, "none of object"),
        ({"type": "object", "properties": {"f": {"type": "file", "index": 0}}}, "f: type 'file'"),
        ({"type": "array"}, "items must be"),
        ({"type": "array", "items": [leaf("string"), leaf("string")]}, "exactly one"),
        ({"type": "object", "properties": []}, "properties must be"),
        (leaf("string", -1), "no column would be sent"),
    ],
)
def test_a_rule_that_cannot_be_followed(schema: object, words: str) -> None:
    with pytest.raises(BadRule) as caught:
        parse_rule(schema)
    assert words in caught.value.problems[0]


def test_a_bottomless_rule_is_refused() -> None:
    schema: dict[str, Any] = {"type": "string", "index": 0}
    for _ in range(200):
        schema = {"type": "array", "items": schema}
    with pytest.raises(BadRule, match="levels deep"):
        parse_rule(schema)


def test_what_contradicts_the_api() -> None:
    rule = parse_rule(
        {
            "type": "object",
            "properties": {
                "a": {"type": "integer", "index": 0},
                "b": {"type": "string", "index": 1},
                "c": {"type": "string", "index": 2},
                "d": {"type": "string", "index": -1},
            },
        }
    )
    declared = {
        "type": "object",
        "required": ["a", "d"],
        "properties": {
            "a": {"type": "number"},
            "b": {"type": "boolean"},
            "d": {"type": "string"},
        },
    }
    assert fits(rule, declared) == [
        "b: the rule makes it string, the api declares boolean",
        "c: the api declares no such parameter",
        "d: the api requires it, the rule leaves it out",
    ]
    assert fits(rule, {}) == []
    assert fits(parse_rule(EXAMPLE), EXAMPLE) == []


TEXTS = {
    "string": st.text(max_size=8),
    "integer": st.integers().map(str),
    "number": st.one_of(
        st.integers().map(str), st.floats(allow_nan=False, allow_infinity=False).map(repr)
    ),
    "boolean": st.sampled_from(["true", "false", "1", "0", "True"]),
}
WIDTH = 6
NAMES = st.text(min_size=1, max_size=4)


def schemas(kinds: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Rules over columns of these types, with leaves that are left out."""
    leaves = st.integers(-2, WIDTH - 1).map(
        lambda index: {"type": kinds[max(index, 0)], "index": index}
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.dictionaries(NAMES, inner, max_size=4).map(
                lambda members: {"type": "object", "properties": members}
            ),
            inner.map(lambda one: {"type": "array", "items": one}),
            inner.map(lambda one: {"type": "array", "items": [one]}),
        ),
        max_leaves=8,
    )


def as_json_schema(rule: dict[str, Any]) -> dict[str, Any]:
    """The rule with what it promises made explicit: nothing else, and all that is not left out."""
    if rule["type"] == "object":
        sent = {
            name: as_json_schema(one)
            for name, one in rule["properties"].items()
            if one.get("index", 0) >= 0
        }
        return {
            "type": "object",
            "properties": sent,
            "required": list(sent),
            "additionalProperties": False,
        }
    if rule["type"] == "array":
        items = rule["items"]
        item = items[0] if isinstance(items, list) else items
        if item.get("index", 0) < 0:
            return {"type": "array", "maxItems": 0}
        return {"type": "array", "items": as_json_schema(item), "minItems": 1, "maxItems": 1}
    return {"type": rule["type"]}


@given(st.data())
def test_whatever_is_built_validates_against_the_schema(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(sorted(TEXTS)), min_size=WIDTH, max_size=WIDTH))
    schema = data.draw(schemas(kinds))
    row = [data.draw(TEXTS[kind]) for kind in kinds]
    try:
        rule = parse_rule(schema)
    except BadRule:
        return
    built = rule.build(row)
    Draft202012Validator(as_json_schema(schema)).validate(built)
    assert json.loads(encode(built)) == json.loads(json.dumps(built))


@given(st.data())
def test_any_row_is_built_or_refused_with_a_reason(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(sorted(TEXTS)), min_size=WIDTH, max_size=WIDTH))
    try:
        rule = parse_rule(data.draw(schemas(kinds)))
    except BadRule:
        return
    row = data.draw(st.lists(st.text(max_size=5), max_size=WIDTH + 1))
    try:
        json.loads(encode(rule.build(row)))
    except RowError as error:
        assert "index" in str(error)
