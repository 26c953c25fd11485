"""Runs that are stopped, resumed, retried, left without instances, or with some that die."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest
from batch_support import (
    DOUBLE,
    FILES,
    RULE,
    Store,
    answers,
    batch,
    lines,
    objects_of,
    rows,
    wait_for,
)

from instance_support import Instance, launch, running, write_package
from modelyard.batch.driver.inputs import survey
from modelyard.domain.batch.run import RunSpec
from modelyard.runtime.local.sweep import marked

RES = "res/infer-result-task-1"


def kill_whole(instance: Instance) -> None:
    """SIGKILL to the front and to every worker."""
    instance.process.kill()
    instance.process.wait(20)
    for pid in marked(instance.instance_id):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not marked(instance.instance_id), "the instance's end")


def revive(instance: Instance) -> None:
    """Start it again, as the control plane would."""
    (instance.folder / "state.json").unlink(missing_ok=True)
    instance.process = launch(instance.folder)
    instance.wait_phase("ready")


def test_a_full_disk_loses_nothing(tmp_path: Path, folder_store: Store, doubler: Instance) -> None:
    folder_store.put("inbox", "in/a.csv", rows(0, 40_000))
    with batch(tmp_path, folder_store) as run:
        run.offer()
        driver = run.start()
        wait_for(lambda: run.progress().phase == "running", "the driver")
        # As a disk does that is full: no file of it grows beyond this.
        resource.prlimit(driver.pid, resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
        run.offer(doubler)
        assert driver.wait(60) != 0
        assert "File too large" in run.log()
        assert run.result() is None
        run.start()
        assert run.finish().progress.rows_done == 40_000
    found = folder_store.everything("outbox")
    assert lines(found[f"{RES}/a.csv_result.txt"]) == answers(0, 40_000)


def test_told_to_stop_it_keeps_what_it_has(
    tmp_path: Path, folder_store: Store, doubler: Instance
) -> None:
    folder_store.put("inbox", "in/a.csv", rows(0, 60_000))
    with batch(tmp_path, folder_store) as run:
        run.offer(doubler)
        run.start()
        wait_for(lambda: run.progress().rows_done > 2000, "some rows")
        assert run.terminate() == 0
        assert run.result() is None
        kept = run.progress().rows_done
        run.offer()
        run.start()
        wait_for(lambda: run.progress().phase == "running", "the next driver")
        assert run.progress().rows_done >= kept - 1
        run.offer(doubler)
        assert run.finish().progress.rows_done == 60_000
    found = folder_store.everything("outbox")
    assert lines(found[f"{RES}/a.csv_result.txt"]) == answers(0, 60_000)


def test_two_drivers_never_share_a_run(
    tmp_path: Path, folder_store: Store, doubler: Instance
) -> None:
    folder_store.put("inbox", "in/a.csv", rows(0, 10))
    with batch(tmp_path, folder_store) as run:
        first = run.start()
        wait_for(lambda: run.progress().listed, "the first driver")
        second = run.start()
        assert second.wait(20) == 0
        assert run.result() is None
        run.process = first
        run.offer(doubler)
        assert run.finish().outcome == "finished"
        # Over is over.
        assert run.start().wait(20) == 0


def test_instances_come_and_go(tmp_path: Path, folder_store: Store, doubler: Instance) -> None:
    folder_store.put("inbox", "in/a.csv", rows(0, 20_000))
    package = write_package(tmp_path / "package", DOUBLE)
    with (
        running(package, tmp_path / "instance") as other,
        batch(tmp_path, folder_store, attempts=2) as run,
    ):
        other.wait_phase("ready")
        run.start()
        wait_for(lambda: run.progress().listed, "the listing")
        run.offer(other)
        wait_for(lambda: run.progress().rows_done > 500, "work by the first")
        run.offer(other, doubler)
        wait_for(lambda: run.progress().rows_done > 2000, "work by both")
        # It dies while it has requests, and nobody has told the driver yet.
        kill_whole(other)
        wait_for(lambda: run.progress().rows_done > 6000, "work by the second alone")
        run.offer(doubler)
        result = run.finish()
    assert (result.progress.rows_done, result.progress.rows_failed) == (20_000, 0)
    found = folder_store.everything("outbox")
    assert lines(found[f"{RES}/a.csv_result.txt"]) == answers(0, 20_000)


def test_a_deadly_row_fails_alone(tmp_path: Path, folder_store: Store, doubler: Instance) -> None:
    content = rows(0, 300) + b"300,deadly\n" + rows(301, 300)
    folder_store.put("inbox", "in/a.csv", content)
    with batch(tmp_path, folder_store) as run:
        result = run.whole(doubler)
    found = lines(folder_store.everything("outbox")[f"{RES}/a.csv_result.txt"])
    assert result.progress.rows_failed == 1
    assert found[:300] + found[301:] == answers(0, 300) + answers(301, 300)
    assert found[300]["error_code"] == "ModelArts.4302"
    (bad,) = lines(folder_store.everything("outbox")["res/infer-result-task-1-quarantine.jsonl"])
    assert (bad["row"], bad["record"]) == (301, "300,deadly")
    assert content[bad["offset"] :].startswith(b"300,deadly")


def fixed(tmp_path: Path, folder: str) -> Path:
    """The doubler's package with its faults removed."""
    return write_package(tmp_path / folder, DOUBLE.replace('"bad"', '"never"'))


def test_a_retry_computes_what_failed_and_keeps_the_rest(
    tmp_path: Path, store: Store, doubler: Instance
) -> None:
    store.put("inbox", "in/good.csv", rows(0, 50))
    store.put("inbox", "in/mixed.csv", rows(0, 700) + b"700,bad\n7,x,y\nx,y\n" + rows(0, 5))
    store.put("inbox", "in/none.csv", b"1,bad\n2,bad\n")
    with batch(tmp_path, store) as run:
        run.whole(doubler)
        # Only what failed may be read again.
        store.put("inbox", "in/good.csv", b"gone")
        store.put("inbox", "in/mixed.csv", b"gone")
        again = run.retry("task-2")
        with running(fixed(tmp_path, "fixed"), tmp_path / "instance") as instance:
            instance.wait_phase("ready")
            try:
                result = again.whole(instance)
            finally:
                again.kill()
    found = store.everything("outbox")
    res = "res/infer-result-task-2"
    assert found[f"{res}/good.csv_result.txt"] == found[f"{RES}/good.csv_result.txt"]
    mixed = lines(found[f"{res}/mixed.csv_result.txt"])
    former = lines(found[f"{RES}/mixed.csv_result.txt"])
    assert former[700]["error_code"] == "MR.0105"
    assert mixed[700] == {"twice": 1400, "text": "bad"}
    assert mixed[:700] + mixed[701:] == former[:700] + former[701:]
    assert lines(found[f"{res}/none.csv_result.txt"])[1] == {"twice": 4, "text": "bad"}
    assert [one["result"] for one in lines(found["res/infer-result-task-2.manifest"])] == [
        "SUCCESSFUL"
    ] * 3
    (bad,) = lines(found["res/infer-result-task-2-quarantine.jsonl"])
    assert (bad["row"], bad["record"]) == (703, "x,y")
    assert result.progress.rows_failed == 1


def test_a_retry_of_files(tmp_path: Path, folder_store: Store, sizer: Instance) -> None:
    folder_store.put("inbox", "in/a.png", b"x" * 10)
    folder_store.put("inbox", "in/b.png", b"bad")
    with batch(tmp_path, folder_store, **FILES) as run:
        run.whole(sizer)
        folder_store.put("inbox", "in/a.png", b"another")
        folder_store.put("inbox", "in/b.png", b"good")
        again = run.retry("task-2")
        try:
            again.whole(sizer)
        finally:
            again.kill()
    found = folder_store.everything("outbox")
    res = "res/infer-result-task-2"
    assert found[f"{res}/a.png_result.txt"] == found[f"{RES}/a.png_result.txt"]
    assert lines(found[f"{res}/b.png_result.txt"])[0]["size"] == 4
    assert "res/infer-result-task-2-quarantine.jsonl" not in found


def test_a_retry_of_nothing_says_so(tmp_path: Path, folder_store: Store) -> None:
    with batch(tmp_path, folder_store, retry_of="never") as run:
        result = run.whole()
    assert (result.outcome, result.code) == ("failed", "3519")


def spec_of(**more: object) -> RunSpec:
    with_defaults = {
        **dict.fromkeys(("task_id", "service_id", "project_id", "model_id"), "x"),
        "source": "obs://inbox/in/",
        "destination": "obs://outbox/res/",
        "mapping_type": "csv",
        "mapping_rule": RULE,
        **more,
    }
    return RunSpec(**with_defaults)  # type: ignore[arg-type]


async def test_a_survey_counts_and_samples(store: Store) -> None:
    store.put("inbox", "in/a.csv", rows(0, 2) + b"x,y\n")
    store.put("inbox", "in/b.csv", rows(0, 2))
    found = await survey(objects_of(store), spec_of())
    assert (found.files, found.complete, found.problems) == (2, True, [])
    assert found.bytes == sum(map(len, store.everything("inbox").values()))
    told = {"source": "obs://inbox/in/a.csv", "path": "/", "content_type": "application/json"}
    assert found.requests == [
        {**told, "row": 1, "body": {"n": 0, "text": "row 0"}},
        {**told, "row": 2, "body": {"n": 1, "text": "row 1"}},
        {**told, "row": 3, "error": "n (index 0): 'x' is not an integer."},
    ]
    few = await survey(objects_of(store), spec_of(), most=1, samples=1)
    assert (few.files, few.complete, len(few.requests)) == (1, False, 1)


async def test_a_survey_of_files(store: Store) -> None:
    store.put("inbox", "in/a.png", b"x" * 10)
    found = await survey(objects_of(store), spec_of(**FILES))
    assert found.requests == [
        {
            "source": "obs://inbox/in/a.png",
            "path": "/",
            "content_type": "multipart/form-data",
            "field": "photo",
            "filename": "a.png",
            "size": 10,
        }
    ]


@pytest.mark.parametrize(
    ("more", "field", "code"),
    [
        ({"source": "obs://nowhere/x/"}, "src_path", "3551"),
        ({"source": "obs://inbox/empty/"}, "src_path", "3551"),
        ({"destination": "obs://inbox/in/x/"}, "dest_path", "3572"),
        ({"mapping_rule": {}}, "mapping_rule", "3037"),
        ({"source": "obs://inbox/files/"}, "src_path", "3572"),
    ],
)
async def test_a_survey_finds_what_is_wrong(
    store: Store, more: dict[str, object], field: str, code: str
) -> None:
    store.put("inbox", "in/a.csv", b"1,x")
    store.put("inbox", "files/a.png", b"1,x")
    (problem,) = (await survey(objects_of(store), spec_of(**more))).problems
    assert (problem.field, problem.code) == (field, code)


def test_a_denied_key_ends_the_run(tmp_path: Path, denying: str) -> None:
    class Denied:
        root = denying

    with batch(tmp_path, Denied()) as run:  # type: ignore[arg-type]
        result = run.whole()
    assert (result.outcome, result.code) == ("failed", "3567")
    assert "denies access" in result.reason
