"""CSV cut from any chunks is what ``csv`` reads from the whole, and can be found again (§2.4)."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelyard.batch.formats import csv_records
from modelyard.batch.formats.csv_records import Cutter, Record, RecordTooLong, parse
from modelyard.batch.formats.mapping import RowError

PIECES = [
    "a",
    "bé",
    "\U0001f30d",
    " ",
    ",",
    ",",
    '"',
    '"',
    '""',
    "\n",
    "\r\n",
    "\r",
    "\u2028",
    "\x0b",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


def by_csv(text: str) -> list[list[str]]:
    return [row for row in csv.reader(io.StringIO(text, newline="")) if row]


def cut(content: bytes, ends: list[int], offset: int = 0) -> list[Record]:
    """The records of ``content`` from ``offset`` on, fed in chunks that end at ``ends``."""
    cutter, found, at = Cutter(offset), [], offset
    for end in [*sorted(ends), len(content)]:
        found += cutter.feed(content[at : max(at, end)])
        at = max(at, end)
    return found + cutter.finish()


@given(TEXTS, st.booleans(), st.lists(st.integers(0, 120), max_size=6))
@example('a,"b\r\nc",d\r\n"', True, [1, 2, 8, 9])
@example('5" pipe,"x"y"\n', False, [4])
@example("a\r\n\r\nb", False, [2, 4])
def test_any_chunks_give_the_records_of_the_whole(text: str, mark: bool, ends: list[int]) -> None:
    content = (b"\xef\xbb\xbf" if mark else b"") + text.encode()
    found = cut(content, ends)
    assert parse([raw for _, raw in found]) == by_csv(text)
    for at, raw in found:
        assert content[at : at + len(raw)] == raw


@given(TEXTS, st.lists(st.integers(0, 120), max_size=4), st.data())
def test_reading_goes_on_behind_any_record(text: str, ends: list[int], data: st.DataObject) -> None:
    content = text.encode()
    found = cut(content, ends)
    if not found:
        return
    number = data.draw(st.integers(0, len(found) - 1))
    at, raw = found[number]
    assert cut(content, ends, at + len(raw)) == found[number + 1 :]


def test_a_row_that_is_not_utf8_is_its_own_trouble() -> None:
    found = cut(b"a,1\nb\xff,2\nc,3\n", [])
    good, bad, last = parse([raw for _, raw in found])
    assert (good, last) == (["a", "1"], ["c", "3"])
    assert isinstance(bad, RowError)
    assert "UTF-8" in str(bad)


def test_a_quote_that_is_never_closed_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_records, "LONGEST_RECORD", 1000)
    cutter = Cutter()
    assert cutter.feed(b'a,b\n"open') == [(0, b"a,b\n")]
    with pytest.raises(RecordTooLong, match="byte 4"):
        for _ in range(100):
            cutter.feed(b"more and more\n")


def test_a_file_of_nothing_but_a_mark() -> None:
    assert cut(b"\xef\xbb\xbf", [1, 2]) == []
    assert cut(b"\xef\xbb", [1]) == [(0, b"\xef\xbb")]
    assert cut(b"", []) == []
