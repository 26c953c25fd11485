"""Which objects may become files (quality.md S4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.objects.local import Entry
from modelyard.objects.transfer import Limits, plan_transfer


def entries(*keys: str, size: int = 1) -> list[Entry]:
    return [Entry(key, size, 0) for key in keys]


def test_targets_are_relative_to_the_prefix() -> None:
    plan = plan_transfer(entries("a/b/c", "a/b/d/e"), "a/b", Limits(), "source")
    assert [copy.target for copy in plan.copies] == ["c", "d/e"]
    assert (plan.size, plan.problems) == (2, ())
    assert plan_transfer(entries("a"), "", Limits(), "source").copies[0].target == "a"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["p/../x"], "'..'"),
        (["p//x"], "empty part"),
        (["p/./x"], "'.'"),
        (["p/a\nb"], "control character"),
        (["p/a\x00"], "control character"),
        (["p/" + "x" * 256], "255 at most"),
        (["p/\ud800"], "not valid text"),
        (["p/a/b/c/d"], "folders deep"),
        (["p/A", "p/a"], "case only"),
        (["p/A/x", "p/a/y"], "case only"),
        (["p/straße", "p/STRASSE"], "case only"),
        (["p/\u00e9", "p/e\u0301"], "how an accent is written"),
        (["p/a", "p/a/b"], "both a file and a folder"),
        ([f"p/{i}" for i in range(6)], "more than 5 files"),
    ],
)
def test_refused(keys: list[str], said: str) -> None:
    plan = plan_transfer(entries(*keys), "p", Limits(files=5, depth=3), "source")
    assert plan.copies == ()
    assert said in plan.problems[0].reason
    assert plan.problems[0].field == "source"


def test_too_large_has_its_own_code() -> None:
    plan = plan_transfer(entries("a", "b", size=3), "", Limits(size=5), "source")
    assert plan.problems[0].code == "3044"


def test_limits_stop_the_reading() -> None:
    def endless() -> object:
        while True:
            yield Entry("same", 0, 0)

    plan = plan_transfer(endless(), "", Limits(files=5), "source")  # type: ignore[arg-type]
    assert plan.problems


def test_markers_of_folders_are_left_out() -> None:
    found = [Entry("p/dir", 0, 0), Entry("p/dir/file", 2, 0), Entry("p/empty", 0, 0)]
    plan = plan_transfer(found, "p", Limits(), "source")
    assert [copy.target for copy in plan.copies] == ["dir/file", "empty"]


_names = st.lists(
    st.text(st.sampled_from("aA./\n\\é\x00"), min_size=1, max_size=8), min_size=1, max_size=6
)


@given(_names)
def test_nothing_accepted_leaves_the_folder_or_clashes(keys: list[str]) -> None:
    plan = plan_transfer(entries(*keys), "", Limits(), "source")
    if plan.problems:
        assert plan.copies == ()
        return
    targets = [copy.target for copy in plan.copies]
    assert all(copy.entry.oddity is None for copy in plan.copies)
    for target in targets:
        assert not target.startswith("/")
        assert not {"", ".", ".."} & set(target.split("/"))
    assert len({target.casefold() for target in targets}) == len(set(targets))
