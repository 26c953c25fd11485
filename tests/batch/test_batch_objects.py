"""What batch runs ask of the object store: pages without a bound, parts, durable writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from batch_support import Cloud, Folder, Store, objects_of

from modelyard.errors import InvalidRequest
from modelyard.objects.paths import ObjectPath
from modelyard.objects.store import Changed

DIGITS = b"0123456789"


def at(key: str, bucket: str = "inbox") -> ObjectPath:
    return ObjectPath(bucket, key)


async def listed(store: Store, prefix: str) -> dict[str, int]:
    pages = [page async for page in objects_of(store).pages(at(prefix))]
    return {entry.key: entry.size for page in pages for entry in page}


async def test_pages_list_everything_below_a_folder(store: Store) -> None:
    sizes = {f"in/{n % 3}/{n}.txt": n for n in range(30)} | {"in.txt": 1, "inn/x": 1}
    for key, size in sizes.items():
        store.put("inbox", key, b"x" * size)
    assert await listed(store, "in") == {k: s for k, s in sizes.items() if k.startswith("in/")}
    assert await listed(store, "") == sizes
    assert await listed(store, "nothing") == {}


async def test_what_stands_for_a_folder_is_none(s3_url: str) -> None:
    cloud = Cloud(s3_url)
    for key in ("in/", "in/sub/", "in/sub/empty"):
        cloud.put("inbox", key, b"")
    assert await listed(cloud, "in") == {"in/sub/empty": 0}


async def test_parts_of_an_object_that_stays_the_same(store: Store) -> None:
    store.put("inbox", "in/a", DIGITS)
    objects = objects_of(store)
    entry = await objects.look(at("in/a"))
    assert entry is not None
    assert entry.size == 10
    assert await objects.part(at("in/a"), 0, 4, entry.mark) == b"0123"
    assert await objects.part(at("in/a"), 4, 10, entry.mark) == b"456789"
    assert await objects.part(at("in/a"), 10, 10, entry.mark) == b""
    store.put("inbox", "in/a", DIGITS + b"more")
    with pytest.raises(Changed):
        await objects.part(at("in/a"), 4, 10, entry.mark)
    assert await objects.part(at("in/a"), 4, 6, "") == b"45"
    store.put("inbox", "in/a", b"less")
    with pytest.raises(Changed):
        await objects.part(at("in/a"), 8, 10, entry.mark)


async def test_what_is_not_there(store: Store) -> None:
    store.put("inbox", "in/a", DIGITS)
    objects = objects_of(store)
    assert await objects.look(at("in/b")) is None
    assert await objects.look(at("in")) is None
    with pytest.raises(InvalidRequest) as caught:
        await objects.part(at("in/b"), 0, 1, "")
    assert caught.value.code == "3551"


@pytest.mark.parametrize("size", [0, 10, 20_000_000])
async def test_a_durable_write_of_bytes_and_files(store: Store, tmp_path: Path, size: int) -> None:
    objects = objects_of(store)
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    await objects.put(at("a/bytes", "outbox"), content, durable=True)
    await objects.put(at("a/file", "outbox"), tmp_path / "file", durable=True)
    assert store.everything("outbox") == {"a/bytes": content, "a/file": content}


async def test_a_name_that_cannot_be_an_object(folder_store: Store) -> None:
    objects = objects_of(folder_store)
    await objects.put(at("a/b"), b"")
    for key in ("a", "a/b/c", f"a/{'x' * 300}"):
        with pytest.raises(InvalidRequest) as caught:
            await objects.put(at(key), b"x")
        assert caught.value.code in ("3567", "3572")
    assert folder_store.everything("inbox") == {"a/b": b""}


async def test_nothing_in_a_folder_is_followed(tmp_path: Path) -> None:
    store = Folder(tmp_path / "objects")
    store.put("inbox", "in/a", DIGITS)
    inside = tmp_path / "objects" / "inbox" / "in"
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "x").write_text("secret")
    (inside / "way").symlink_to(tmp_path / "secret")
    (inside / "link").symlink_to(tmp_path / "secret" / "x")
    os.mkfifo(inside / "pipe")
    objects = objects_of(store)
    found = {e.key: e.oddity async for page in objects.pages(at("in")) for e in page}
    assert found == {
        "in/a": None,
        "in/link": "a symbolic link",
        "in/pipe": "not a plain file",
        "in/way": "a symbolic link",
    }
    for key in ("in/link", "in/way/x", "in/pipe"):
        assert await objects.look(at(key)) is None
        with pytest.raises(InvalidRequest):
            await objects.part(at(key), 0, 1, "")


async def test_leftovers_of_the_killed_are_swept(tmp_path: Path) -> None:
    aside = tmp_path / "objects" / ".aside"
    aside.mkdir(parents=True)
    (aside / "999999999-0").write_text("of nobody")
    (aside / f"{os.getpid()}-0").write_text("ours")
    objects_of(Folder(tmp_path / "objects")).sweep()
    assert [path.name for path in aside.iterdir()] == [f"{os.getpid()}-0"]
