"""CSV in, JSON lines out: a test per row of inference.md §2, on a folder and on S3."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from batch_support import Store, answers, batch, lines, rows, wait_for

from instance_support import Instance, running, write_package

RES = "res/infer-result-task-1"


def test_rows_become_lines_in_their_order(tmp_path: Path, store: Store, doubler: Instance) -> None:
    store.put("inbox", "in/a.csv", rows(0, 3000))
    store.put("inbox", "in/sub/b.csv", b'\xef\xbb\xbf1,"x, ""y""\r\nz"\r\n\r\n2,bad\nx,y\n3')
    with batch(tmp_path, store) as run:
        result = run.whole(doubler)
    assert (result.outcome, result.code) == ("finished", "")
    found = store.everything("outbox")
    assert lines(found[f"{RES}/a.csv_result.txt"]) == answers(0, 3000)
    assert lines(found[f"{RES}/b.csv_result.txt"]) == [
        {"twice": 2, "text": 'x, "y"\r\nz'},
        {"error_code": "MR.0105", "error_msg": "Recognition failed"},
        {"error_code": "ModelArts.4105", "error_msg": "n (index 0): 'x' is not an integer."},
        {
            "error_code": "ModelArts.4105",
            "error_msg": "The row has 1 column; text needs index 1.",
        },
    ]
    assert result.manifests == ("obs://outbox/res/infer-result-task-1.manifest",)
    assert lines(found["res/infer-result-task-1.manifest"]) == [
        {
            "source": f"obs://inbox/in/{name}",
            "result": "SUCCESSFUL",
            "inference-loc": f"obs://outbox/{RES}/{name[-5:]}_result.txt",
        }
        for name in ("a.csv", "sub/b.csv")
    ]
    assert result.quarantine == "obs://outbox/res/infer-result-task-1-quarantine.jsonl"
    bad = lines(found["res/infer-result-task-1-quarantine.jsonl"])
    assert [(one["row"], one["offset"], one["record"]) for one in bad] == [
        (2, 22, "2,bad"), (3, 28, "x,y"), (4, 32, "3"),
    ]  # fmt: skip
    assert {one["source"] for one in bad} == {"obs://inbox/in/sub/b.csv"}
    progress = result.progress
    assert (progress.files_total, progress.files_done, progress.files_failed) == (2, 2, 0)
    assert (progress.rows_done, progress.rows_failed) == (3004, 3)
    assert (
        progress.bytes_done
        == progress.bytes_total
        == sum(map(len, store.everything("inbox").values()))
    )
    assert len(found) == 4


def test_a_file_whose_rows_all_fail_has_no_result(
    tmp_path: Path, folder_store: Store, doubler: Instance
) -> None:
    folder_store.put("inbox", "in/a.csv", b"1,bad\n2,bad\n")
    folder_store.put("inbox", "in/b.csv", b"1\xff,x\n")
    folder_store.put("inbox", "in/empty.csv", b"\r\n")
    with batch(tmp_path, folder_store) as run:
        result = run.whole(doubler)
    assert result.outcome == "finished"
    found = folder_store.everything("outbox")
    manifest = lines(found["res/infer-result-task-1.manifest"])
    assert [one["result"] for one in manifest] == ["FAILED", "FAILED", "SUCCESSFUL"]
    assert manifest[0]["error_message"] == "All 2 rows failed; the first: Recognition failed"
    assert "not UTF-8" in manifest[1]["error_message"]
    assert "inference-loc" not in manifest[0]
    assert found[f"{RES}/empty.csv_result.txt"] == b""
    bad = lines(found["res/infer-result-task-1-quarantine.jsonl"])
    assert [one["row"] for one in bad] == [1, 2, 1]
    assert bad[2]["record_base64"] == "Mf8seA=="
    assert (result.progress.rows_done, result.progress.rows_failed) == (3, 3)
    assert len(found) == 3
    assert (result.progress.files_failed, result.progress.files_done) == (2, 3)


def test_equal_base_names_keep_their_sub_paths(
    tmp_path: Path, folder_store: Store, doubler: Instance
) -> None:
    for key in ("x.csv", "one/x.csv", "one/y.csv", "two/x.csv"):
        folder_store.put("inbox", f"in/{key}", b"1,x\n")
    with batch(tmp_path, folder_store, manifest_lines=3) as run:
        result = run.whole(doubler)
    found = folder_store.everything("outbox")
    assert {key.removeprefix(f"{RES}/") for key in found if key.startswith(RES + "/")} == {
        "x.csv_result.txt", "one/x.csv_result.txt", "y.csv_result.txt", "two/x.csv_result.txt",
    }  # fmt: skip
    # Split where it is large, in the order of the keys.
    assert [one.rpartition("/")[2] for one in result.manifests] == [
        "infer-result-task-1_1.manifest", "infer-result-task-1_2.manifest",
    ]  # fmt: skip
    split = [lines(found[f"res/infer-result-task-1_{n}.manifest"]) for n in (1, 2)]
    assert [[one["source"][15:] for one in part] for part in split] == [
        ["one/x.csv", "one/y.csv", "two/x.csv"], ["x.csv"],
    ]  # fmt: skip


def test_a_manifest_names_the_files(tmp_path: Path, store: Store, doubler: Instance) -> None:
    store.put("inbox", "b/1.csv", rows(0, 5))
    store.put("inbox", "a/2.csv", rows(5, 5))
    signed = "https://inbox.store.example/a/2.csv?AccessKeyId=x&Expires=1&Signature=y%3D"
    sources = ["obs://inbox/b/1.csv", signed, "s3://inbox/gone.csv", "obs://inbox/b/1.csv"]
    text = "\n\n".join(json.dumps({"source": one, "usage": "x"}) for one in sources)
    store.put("inbox", "lists/today.manifest", text.encode())
    source = {"source": "obs://inbox/lists/today.manifest", "source_type": "ManifestFile"}
    with batch(tmp_path, store, **source) as run:
        run.whole(doubler)
    found = store.everything("outbox")
    manifest = lines(found["res/infer-result-task-1.manifest"])
    assert [one["source"] for one in manifest] == sources[:3]
    assert [one["result"] for one in manifest] == ["SUCCESSFUL", "SUCCESSFUL", "FAILED"]
    assert manifest[2]["error_message"].startswith("Download file failed. obs://inbox/gone.csv")
    assert lines(found[f"{RES}/2.csv_result.txt"]) == answers(5, 5)
    assert lines(found["res/infer-result-task-1-quarantine.jsonl"]) == [
        {"source": "s3://inbox/gone.csv", "error_msg": manifest[2]["error_message"]}
    ]


def test_answers_of_any_kind_become_lines(tmp_path: Path, folder_store: Store) -> None:
    script = """
import json
from model_service.model_service import SingleNodeService
class Answers(SingleNodeService):
    def _inference(self, data):
        return data
    def _postprocess(self, data):
        return {"a": "plain\\ntext", "b": {"x": [1]}}[data["text"]]
"""
    folder_store.put("inbox", "in/a.csv", b"1,a\n2,b\n")
    package = write_package(tmp_path / "package", script)
    with (
        running(package, tmp_path / "instance") as instance,
        batch(tmp_path, folder_store) as run,
    ):
        instance.wait_phase("ready")
        run.whole(instance)
    content = folder_store.everything("outbox")[f"{RES}/a.csv_result.txt"]
    assert content == b'"plain\\ntext"\n{"x":[1]}\n'


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        ({"source": "obs://nowhere/in/"}, "3551", "src_path"),
        ({"source": "obs://inbox/empty/"}, "3551", "src_path"),
        ({"source": "obs://inbox/mixed/"}, "3572", "mixed/b.txt"),
        ({"destination": "obs://inbox/in/res/"}, "3572", "dest_path"),
        ({"destination": "obs://inbox/in/"}, "3572", "is the source itself"),
        ({"source": "obs://inbox/in/x.csv", "source_type": "ManifestFile"}, "3572", "no .manifest"),
        ({"source": "obs://inbox/no.manifest", "source_type": "ManifestFile"}, "3551", "exist"),
        ({"source": "obs://inbox/bad.manifest", "source_type": "ManifestFile"}, "3572", "line 2"),
        ({"mapping_rule": {"type": "object"}}, "3037", "mapping_rule"),
    ],
)
def test_what_cannot_begin_says_why(
    tmp_path: Path, store: Store, more: dict[str, object], code: str, words: str
) -> None:
    store.put("inbox", "in/a.csv", b"1,x\n")
    store.put("inbox", "mixed/a.csv", b"1,x\n")
    store.put("inbox", "mixed/b.txt", b"x")
    store.put("inbox", "bad.manifest", b'{"source": "obs://inbox/in/a.csv"}\nnonsense\n')
    with batch(tmp_path, store, **more) as run:
        result = run.whole()
    assert (result.outcome, result.code) == ("failed", code)
    assert words in result.reason
    assert store.everything("outbox") == {}


def test_a_destination_that_takes_nothing_ends_the_run(
    tmp_path: Path, folder_store: Store, doubler: Instance
) -> None:
    folder_store.put("inbox", "in/a.csv", b"1,x\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Path(folder_store.root, "outbox").symlink_to(elsewhere)
    with batch(tmp_path, folder_store) as run:
        result = run.whole(doubler)
    assert (result.outcome, result.code) == ("failed", "3567")
    assert list(elsewhere.iterdir()) == []


def test_a_file_over_the_limit_fails(
    tmp_path: Path, folder_store: Store, doubler: Instance
) -> None:
    folder_store.put("inbox", "in/a.csv", rows(0, 100))
    folder_store.put("inbox", "in/b.csv", rows(0, 2))
    with batch(tmp_path, folder_store, csv_limit=100) as run:
        run.whole(doubler)
    first, second = lines(folder_store.everything("outbox")["res/infer-result-task-1.manifest"])
    assert "more than the 100" in first["error_message"]
    assert second["result"] == "SUCCESSFUL"


def test_a_source_that_changes_fails_with_the_reason(
    tmp_path: Path, folder_store: Store, doubler: Instance
) -> None:
    folder_store.put("inbox", "in/a.csv", rows(0, 5))
    with batch(tmp_path, folder_store) as run:
        run.prepare()
        assert run.start(MODELYARD_CRASH="after:batch.listed").wait(30) == -9
        folder_store.put("inbox", "in/a.csv", rows(0, 7))
        result = run.whole(doubler)
    assert result.outcome == "finished"
    (line,) = lines(folder_store.everything("outbox")["res/infer-result-task-1.manifest"])
    assert line["error_message"].endswith("changed during the run.")


def test_progress_is_told(tmp_path: Path, folder_store: Store, doubler: Instance) -> None:
    folder_store.put("inbox", "in/a.csv", rows(0, 200_000))
    with batch(tmp_path, folder_store) as run:
        run.start()
        wait_for(lambda: run.progress().phase == "running", "the listing")
        assert (run.progress().files_total, run.progress().rows_done) == (1, 0)
        run.offer(doubler)
        told = wait_for(lambda: (p := run.progress()).seconds_left and p, "an estimate")
        assert told.rate > 100
        assert 0 < told.rows_done < 200_000
        assert run.terminate() == 0
        assert run.result() is None
