"""What environments take of the disk, and which go first (pure but for the looking)."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import EnvironmentTooLarge
from modelyard.packages.environments.space import MB, Files, bounded, files_below, leaving, size


def files(**sizes: int) -> Files:
    """Files known by a letter each."""
    return {(0, ord(name)): number for name, number in sizes.items()}


def test_a_file_under_two_names_counts_once(tmp_path: Path) -> None:
    for folder in ("one", "two/inner"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "one" / "a").write_bytes(b"x" * 1000)
    (tmp_path / "one" / "b").write_bytes(b"x" * 10)
    os.link(tmp_path / "one" / "a", tmp_path / "two" / "inner" / "a")
    (tmp_path / "two" / "loop").symlink_to(tmp_path)
    one, two = files_below(tmp_path / "one"), files_below(tmp_path / "two")
    assert size(one) == 1010
    assert size(one, two) == size(files_below(tmp_path))
    assert files_below(tmp_path / "absent") == {}


def test_the_first_go_until_the_rest_fits() -> None:
    unused = [("old", files(a=5)), ("newer", files(b=5))]
    assert leaving([files(k=10)], unused, 20) == ()
    assert leaving([files(k=10)], unused, 15) == ("old",)
    assert leaving([files(k=10)], unused, 10) == ("old", "newer")
    assert leaving([files(k=10)], unused, 9) is None


def test_what_another_one_shares_is_not_freed() -> None:
    unused = [("old", files(a=5, s=9)), ("newer", files(b=1, s=9))]
    assert leaving([], unused, 10) == ("old",)
    assert leaving([files(s=9)], unused, 9) == ("old", "newer")


_files = st.dictionaries(st.tuples(st.just(0), st.integers(0, 9)), st.just(0), max_size=6).map(
    lambda found: {(d, i): i for d, i in found}
)


@given(st.lists(_files, max_size=3), st.lists(_files, max_size=5), st.integers(0, 60))
def test_as_few_go_as_must(kept: list[Files], several: list[Files], most: int) -> None:
    unused = [(str(number), one) for number, one in enumerate(several)]
    gone = leaving(kept, unused, most)
    if gone is None:
        assert size(*kept) > most
        return
    assert gone == tuple(name for name, _ in unused[: len(gone)])
    assert size(*kept, *several[len(gone) :]) <= most
    if gone:
        assert size(*kept, *several[len(gone) - 1 :]) > most


async def test_work_ends_as_soon_as_it_takes_too_much() -> None:
    taken, ended = 0, asyncio.Event()

    async def work() -> str:
        nonlocal taken
        try:
            taken = 200 * MB
            await asyncio.Event().wait()
        finally:
            ended.set()
        return "never"

    with pytest.raises(EnvironmentTooLarge, match="100 MB"):
        await asyncio.wait_for(bounded(work(), lambda: taken, 100 * MB, 0.01), 30)
    assert ended.is_set()


async def test_work_within_its_bounds_is_left_alone() -> None:
    async def work() -> str:
        return "done"

    assert await bounded(work(), lambda: 0, 1, 0.01) == "done"
    assert await bounded(work(), lambda: 10**12, 0, 0.01) == "done"
