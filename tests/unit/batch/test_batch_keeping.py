"""Journal and spool: what is found again after a crash, and what is not (quality.md R12)."""

from __future__ import annotations

import errno
import os
import resource
from dataclasses import replace
from pathlib import Path

import pytest

from modelyard.batch.driver.counts import Tally
from modelyard.batch.driver.inputs import Input
from modelyard.batch.driver.journal import BadFormer, Former, Journal, Stage
from modelyard.batch.driver.spool import ShortSpool, Spool
from modelyard.batch.formats.quarantine import BadRow, read_row, row_line
from modelyard.objects.paths import ObjectPath


def listed(path: Path, keys: list[str], prefix: str | None = "in") -> Journal:
    journal = Journal(path)
    journal.add([Input(f"obs://b/{key}", ObjectPath("b", key), 1, "m") for key in keys])
    journal.settle_listing(prefix)
    return journal


def test_a_folder_is_in_the_order_of_its_keys(tmp_path: Path) -> None:
    journal = listed(tmp_path / "j", ["in/b/x", "in/a", "in/b.x", "in/é", "in/Z"])
    assert journal.listed
    assert [file.path.key for file in journal.files(0, 9)] == [
        "in/Z", "in/a", "in/b.x", "in/b/x", "in/é",
    ]  # fmt: skip
    journal.close()


def test_a_manifest_keeps_its_own_and_names_each_file_once(tmp_path: Path) -> None:
    journal = listed(tmp_path / "j", ["z/1", "a/2", "z/1", "q/2"], None)
    files = journal.files(0, 9)
    assert [file.path.key for file in files] == ["z/1", "a/2", "q/2"]
    assert [file.relative for file in files] == ["1", "a/2", "q/2"]
    journal.close()


def test_the_same_key_in_two_buckets_is_told_apart(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.add([Input(f"obs://{b}/x/1", ObjectPath(b, "x/1")) for b in ("one", "two")])
    journal.settle_listing(None)
    assert [file.relative for file in journal.files(0, 9)] == ["one/x/1", "two/x/1"]
    journal.close()


def test_no_two_files_of_several_buckets_share_a_name(tmp_path: Path) -> None:
    places = [("b1", "k/1"), ("b2", "k/1"), ("b3", "b1/k/1"), ("b3", "2")]
    journal = Journal(tmp_path / "j")
    journal.add([Input("", ObjectPath("", "ftp://x/1"), fault="no address")])
    journal.add([Input(f"obs://{b}/{key}", ObjectPath(b, key)) for b, key in places])
    journal.settle_listing(None)
    names = [file.relative for file in journal.files(1, 9)]
    assert names == ["b1/k/1", "b2/k/1", "b3/b1/k/1", "2"]
    journal.close()


def test_a_listing_that_was_cut_off_begins_anew(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.add([Input("obs://b/in/old", ObjectPath("b", "in/old"), 1)])
    journal.close()
    journal = Journal(tmp_path / "j")
    assert not journal.listed
    journal.forget_listing()
    journal.add([Input("obs://b/in/new", ObjectPath("b", "in/new"), 1)])
    assert journal.settle_listing("in") == 1
    journal.close()


def test_empty_objects_with_something_below_are_folders(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    sizes = {"in/a": 0, "in/a/x": 1, "in/b": 0, "in/b.x": 1, "in/ab": 0}
    journal.add([Input(k, ObjectPath("b", k), size) for k, size in sizes.items()])
    journal.settle_listing("in")
    assert [file.path.key for file in journal.files(0, 9)] == [
        "in/a/x", "in/ab", "in/b", "in/b.x",
    ]  # fmt: skip
    journal.close()


def test_what_was_saved_is_there_again(tmp_path: Path) -> None:
    journal = listed(tmp_path / "j", ["in/a", "in/b", "in/c"])
    first, second, third = journal.files(0, 9)
    half = replace(first, rows=3, offset=30, spool=300, quarantine=7, ok=2, failed=1)
    journal.save([half, replace(second, stage=Stage.DONE, error="gone")])
    journal.close()
    journal = Journal(tmp_path / "j")
    assert journal.unfinished(0, 9) == [half, third]
    assert [file.n for file in journal.troubled(0, 9)] == [1, 2]
    totals = journal.totals()
    assert (totals.files, totals.done, totals.failed) == (3, 1, 1)
    assert (totals.rows, totals.rows_failed, totals.bytes) == (3, 1, 3)
    journal.close()


def test_a_retry_takes_over_what_there_is(tmp_path: Path) -> None:
    journal = listed(tmp_path / "j", ["in/good", "in/mixed", "in/failed", "in/open"])
    failed, good, mixed, _ = journal.files(0, 9)
    journal.save([
        replace(good, stage=Stage.DONE, rows=2, ok=2),
        replace(mixed, stage=Stage.DONE, rows=2, ok=1, failed=1),
        replace(failed, stage=Stage.DONE, error="x"),
    ])  # fmt: skip
    journal.close()
    again = Journal(tmp_path / "again")
    assert again.adopt(tmp_path / "j") == 4
    assert [(file.path.key, file.former, file.stage, file.rows) for file in again.files(0, 9)] == [
        ("in/failed", Former.AGAIN, Stage.OPEN, 0),
        ("in/good", Former.KEEP, Stage.OPEN, 0),
        ("in/mixed", Former.MEND, Stage.OPEN, 0),
        ("in/open", Former.AGAIN, Stage.OPEN, 0),
    ]
    again.close()


def test_a_retry_of_what_was_never_listed(tmp_path: Path) -> None:
    Journal(tmp_path / "j").close()
    again = Journal(tmp_path / "again")
    for former in ("j", "nothing"):
        with pytest.raises(BadFormer):
            again.adopt(tmp_path / former)
    assert not again.listed
    again.close()


def test_a_spool_is_cut_back_to_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "1.out"
    spool = Spool(path)
    spool.add(b"kept\n")
    kept = spool.length
    spool.add(b"lost" * 200_000)
    spool.flush()
    spool.close()
    again = Spool(path, kept)
    again.add(b"and on\n")
    again.flush()
    again.sync()
    again.close()
    assert path.read_bytes() == b"kept\nand on\n"


def test_a_spool_that_could_not_be_written_keeps_nothing_more(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    spool = Spool(tmp_path / "s")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            spool.add(b"x" * 300_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    spool.add(b"more")
    for keep in (spool.flush, spool.sync):
        with pytest.raises(OSError, match=str(errno.EBADF)):
            keep()


def test_a_spool_that_lost_something_says_so(tmp_path: Path) -> None:
    path = tmp_path / "1.out"
    path.write_bytes(b"12")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ShortSpool):
        Spool(path, 3)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("record", [b'1,"a\nb"\r\n', "é,x".encode(), b"\xff\xfe", b""])
def test_a_failed_row_is_found_again(record: bytes) -> None:
    bad = BadRow(3, 99, "MR.0105", "no", record)
    assert read_row(row_line("obs://b/x", bad)) == replace(bad, record=record.rstrip(b"\r\n"))


def test_progress_has_a_rate_and_an_end() -> None:
    tally = Tally()
    tally.phase, tally.bytes = "running", 1000
    assert tally.progress(0.0).seconds_left is None
    tally.rows, tally.bytes_done = 50, 250
    told = tally.progress(2.0)
    assert (told.rate, told.seconds_left) == (25.0, 6.0)
    assert tally.progress(60.0).rate == 0.0
