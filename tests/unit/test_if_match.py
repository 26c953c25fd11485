"""If-Match as RFC 9110 has it."""

from __future__ import annotations

import pytest

from modelyard.api.conditions import read_if_match
from modelyard.errors import InvalidRequest


@pytest.mark.parametrize(
    ("header", "tags"),
    [
        (None, None),
        ("*", None),
        ('"7"', {'"7"'}),
        ('"7", "8"', {'"7"', '"8"'}),
        ('"7" ,"a,b"', {'"7"', '"a,b"'}),
        ('W/"7"', set()),
        ('W/"7", "8"', {'"8"'}),
        ('""', {'""'}),
    ],
)
def test_tags(header: str | None, tags: set[str] | None) -> None:
    assert read_if_match(header) == tags


@pytest.mark.parametrize("header", ["", "7", '"7', '7"', '"7" "8"', '"7",', ",", '*, "7"', 'w/"7"'])
def test_anything_else_is_refused(header: str) -> None:
    with pytest.raises(InvalidRequest, match="If-Match"):
        read_if_match(header)
