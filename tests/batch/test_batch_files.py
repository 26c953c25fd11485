"""Whole files in, raw answers out (inference.md §2.3, §2.5, §2.6)."""

from __future__ import annotations

import json
import os
from pathlib import Path

from batch_support import FILES, Cloud, Store, batch, lines

from instance_support import Instance

RES = "res/infer-result-task-1"


def test_each_file_is_a_form_and_its_answer_the_result(
    tmp_path: Path, store: Store, sizer: Instance
) -> None:
    store.put("inbox", "in/leaf.png", b"x" * 5000)
    store.put("inbox", "in/sub/bad.png", b"bad")
    store.put("inbox", "in/sub/träume.bin", b"--modelyard-batch-7f1c0b6e5d2a49d8")
    store.put("inbox", "in/large.png", b"x" * 70_000)
    with batch(tmp_path, store, **FILES, file_limit=60_000) as run:
        result = run.whole(sizer)
    found = store.everything("outbox")
    assert json.loads(found[f"{RES}/leaf.png_result.txt"]) == {
        "field": "photo", "file": "leaf.png", "size": 5000,
    }  # fmt: skip
    assert json.loads(found[f"{RES}/träume.bin_result.txt"])["size"] == 34
    manifest = lines(found["res/infer-result-task-1.manifest"])
    assert [(one["source"], one.get("error_message")) for one in manifest] == [
        (
            "obs://inbox/in/large.png",
            "The file has 70000 bytes, more than the 60000 that are allowed.",
        ),
        ("obs://inbox/in/leaf.png", None),
        ("obs://inbox/in/sub/bad.png", "Recognition failed"),
        ("obs://inbox/in/sub/träume.bin", None),
    ]
    bad = lines(found["res/infer-result-task-1-quarantine.jsonl"])
    assert [one["source"] for one in bad] == [
        "obs://inbox/in/large.png", "obs://inbox/in/sub/bad.png",
    ]  # fmt: skip
    assert (result.progress.files_done, result.progress.files_failed) == (4, 2)
    assert len(found) == 4


def test_when_nothing_succeeds_there_is_no_result_file(
    tmp_path: Path, store: Store, sizer: Instance
) -> None:
    store.put("inbox", "in/a.png", b"bad")
    with batch(tmp_path, store, **FILES) as run:
        assert run.whole(sizer).outcome == "finished"
    assert set(store.everything("outbox")) == {
        "res/infer-result-task-1.manifest", "res/infer-result-task-1-quarantine.jsonl",
    }  # fmt: skip


def test_links_are_not_followed(tmp_path: Path, folder_store: Store, sizer: Instance) -> None:
    folder_store.put("inbox", "in/a.png", b"x")
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key.pem").write_text("secret")
    inside = Path(folder_store.root, "inbox", "in")
    (inside / "link.png").symlink_to(secret / "key.pem")
    (inside / "way").symlink_to(secret)
    text = "\n".join(
        json.dumps({"source": f"obs://inbox/in/{name}"})
        for name in ("a.png", "link.png", "way/key.pem")
    )
    folder_store.put("inbox", "x.manifest", text.encode())
    named = {"source": "obs://inbox/x.manifest", "source_type": "ManifestFile"}
    with batch(tmp_path, folder_store, **FILES) as run:
        run.whole(sizer)
    with batch(tmp_path, folder_store, **FILES, **named, task_id="task-2") as run:
        run.whole(sizer)
    for task, failed in (("task-1", 2), ("task-2", 2)):
        found = folder_store.everything("outbox")
        manifest = lines(found[f"res/infer-result-{task}.manifest"])
        assert [one["result"] for one in manifest] == ["SUCCESSFUL", *["FAILED"] * failed]
        assert b"secret" not in b"".join(
            content for key, content in found.items() if "_result.txt" in key
        )


def test_empty_objects_that_stand_for_folders_are_skipped(
    tmp_path: Path,
    s3_url: str,
    sizer: Instance,
) -> None:
    cloud = Cloud(s3_url)
    for key in ("in/", "in/sub/", "in/sub/a.png", "in/nothing/"):
        cloud.put("inbox", key, b"x" if key.endswith("png") else b"")
    with batch(tmp_path, cloud, **FILES) as run:
        run.whole(sizer)
    manifest = lines(cloud.everything("outbox")["res/infer-result-task-1.manifest"])
    assert [one["source"] for one in manifest] == ["obs://inbox/in/sub/a.png"]


def test_a_hundredth_of_the_files_is_missing(
    tmp_path: Path, folder_store: Store, sizer: Instance
) -> None:
    """As many as are asked for: ``MODELYARD_BATCH_FILES``."""
    count = int(os.environ.get("MODELYARD_BATCH_FILES", "1000"))
    sources = [f"obs://inbox/in/{n:05}.png" for n in range(count)]
    missing = {source for n, source in enumerate(sources) if n % 100 == 37}
    for source in sources:
        if source not in missing:
            folder_store.put("inbox", source.removeprefix("obs://inbox/"), source.encode())
    text = "".join(f'{{"source": "{source}"}}\n' for source in reversed(sources))
    folder_store.put("inbox", "all.manifest", text.encode())
    named = {"source": "obs://inbox/all.manifest", "source_type": "ManifestFile"}
    with batch(tmp_path, folder_store, **FILES, **named) as run:
        result = run.whole(sizer)
    manifest = lines(folder_store.everything("outbox")["res/infer-result-task-1.manifest"])
    assert [one["source"] for one in manifest] == sources[::-1]
    failed = {one["source"]: one["error_message"] for one in manifest if one["result"] == "FAILED"}
    assert set(failed) == missing
    assert all(text.startswith("Download file failed.") for text in failed.values())
    assert (result.progress.files_done, result.progress.files_failed) == (count, len(missing))
