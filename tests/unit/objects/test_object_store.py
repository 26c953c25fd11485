"""The object store over a real folder and over the S3 protocol."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

from modelyard.errors import InvalidRequest, Unavailable
from modelyard.objects.paths import ObjectPath
from modelyard.objects.store import Objects
from modelyard.objects.transfer import Limits

KEYS = {"AWS_ACCESS_KEY_ID": "test-key", "AWS_SECRET_ACCESS_KEY": "test-secret"}


class _S3(BaseHTTPRequestHandler):
    """As much of the protocol as reading, writing and listing take."""

    content: dict[str, bytes]
    parts: dict[int, bytes]

    def log_message(self, *_: object) -> None: ...

    def _answer(self, status: int, body: bytes = b"", length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("ETag", '"x"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        part = parse_qs(urlsplit(self.path).query).get("partNumber")
        if part:
            self.parts[int(part[0])] = body
        else:
            self.content[self._key()] = body
        self._answer(200)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "uploadId" not in parse_qs(urlsplit(self.path).query):
            upload = "<InitiateMultipartUploadResult><UploadId>1</UploadId>"
            self._answer(200, f"{upload}</InitiateMultipartUploadResult>".encode())
            return
        self.content[self._key()] = b"".join(body for _, body in sorted(self.parts.items()))
        done = "<CompleteMultipartUploadResult><ETag>x</ETag>"
        self._answer(200, f"{done}</CompleteMultipartUploadResult>".encode())

    def do_HEAD(self) -> None:
        found = self.content.get(self._key())
        self._answer(404) if found is None else self._answer(200, length=len(found))

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" not in query:
            found = self.content.get(self._key())
            self._answer(404) if found is None else self._answer(200, found)
            return
        start = f"{self._key()}/"
        wanted = start + query.get("prefix", [""])[0]
        items = "".join(
            f"<Contents><Key>{escape(key.removeprefix(start))}</Key><Size>{len(body)}</Size>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>x</ETag></Contents>"
            for key, body in sorted(self.content.items())
            if key.startswith(wanted)
        )
        text = f"<ListBucketResult><IsTruncated>false</IsTruncated>{items}</ListBucketResult>"
        self._answer(200, text.encode())


@pytest.fixture
def s3() -> Iterator[str]:
    handler = type("Handler", (_S3,), {"content": {}, "parts": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(params=["folder", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    if request.param == "folder":
        return Objects(str(tmp_path / "objects"))
    return Objects(request.getfixturevalue("s3"), KEYS)


def at(key: str) -> ObjectPath:
    return ObjectPath("bucket", key)


async def test_put_read_list_copy(objects: Objects, tmp_path: Path) -> None:
    big = os.urandom(9_000_000)
    source = tmp_path / "big"
    source.write_bytes(big)
    await objects.put(at("m/model/a b%20é.txt"), b"hello")
    await objects.put(at("m/model/sub/big"), source)
    await objects.put(at("m/model2/not-this"), b"x")
    assert await objects.read(at("m/model/a b%20é.txt"), 100) == b"hello"
    assert await objects.exists(at("m/model/sub/big"))
    assert not await objects.exists(at("m/model/sub"))
    listed = await objects.list(at("m/model"))
    assert [(entry.key, entry.size) for entry in listed] == [
        ("m/model/a b%20é.txt", 5),
        ("m/model/sub/big", len(big)),
    ]
    assert len(await objects.list(at("m"), 2)) == 2
    plan = await objects.plan_tree(at("m/model"), Limits(), "source")
    assert plan is not None
    report = await objects.copy_tree(at("m/model"), tmp_path / "out", plan)
    assert (report.files, report.size) == (2, len(big) + 5)
    assert (tmp_path / "out/sub/big").read_bytes() == big
    assert (tmp_path / "out/a b%20é.txt").read_bytes() == b"hello"
    assert not (tmp_path / "not-this").exists()


async def test_what_is_not_there(objects: Objects) -> None:
    assert await objects.info(at("nothing")) is None
    assert await objects.list(at("nothing")) == []
    assert await objects.plan_tree(at("nothing"), Limits(), "source") is None
    with pytest.raises(InvalidRequest) as caught:
        await objects.read(at("nothing"), 10)
    assert caught.value.code == "3551"
    await objects.put(at("long"), b"x" * 11)
    with pytest.raises(InvalidRequest):
        await objects.read(at("long"), 10)


async def test_links_lead_nowhere(tmp_path: Path) -> None:
    root = tmp_path / "objects"
    (root / "bucket/m").mkdir(parents=True)
    (root / "bucket/m/plain").write_text("ok")
    (tmp_path / "secret").write_text("secret")
    (root / "bucket/m/file").symlink_to(tmp_path / "secret")
    (root / "bucket/m/folder").symlink_to(tmp_path)
    (root / "bucket/m/loop").symlink_to(root / "bucket")
    (root / "linked").symlink_to(tmp_path)
    objects = Objects(str(root))
    for path in (at("m/file"), at("m/folder/secret"), ObjectPath("linked", "secret")):
        assert await objects.info(path) is None
        with pytest.raises(InvalidRequest):
            await objects.read(path, 100)
        with pytest.raises(InvalidRequest):
            await objects.put(path, b"overwritten")
        assert await objects.list(path) == []
    assert (tmp_path / "secret").read_text() == "secret"
    odd = {entry.key: entry.oddity for entry in await objects.list(at("m"))}
    assert odd == {
        "m/file": "a symbolic link",
        "m/folder": "a symbolic link",
        "m/loop": "a symbolic link",
        "m/plain": None,
    }
    plan = await objects.plan_tree(at("m"), Limits(), "source")
    assert plan is not None
    with pytest.raises(InvalidRequest):
        await objects.copy_tree(at("m"), tmp_path / "out", plan)
    assert not (tmp_path / "out").exists()


async def test_a_link_put_in_place_after_planning(tmp_path: Path) -> None:
    root = tmp_path / "objects"
    (root / "bucket/m").mkdir(parents=True)
    (root / "bucket/m/file").write_text("123456")
    (tmp_path / "secret").write_text("secret")
    objects = Objects(str(root))
    plan = await objects.plan_tree(at("m"), Limits(), "source")
    assert plan is not None
    (root / "bucket/m/file").unlink()
    (root / "bucket/m/file").symlink_to(tmp_path / "secret")
    with pytest.raises(InvalidRequest):
        await objects.copy_tree(at("m"), tmp_path / "out", plan)
    assert not (tmp_path / "out/file").exists()


async def test_a_file_that_grows_is_not_copied_past_its_plan(tmp_path: Path) -> None:
    objects = Objects(str(tmp_path / "objects"))
    await objects.put(at("m/file"), b"1")
    plan = await objects.plan_tree(at("m"), Limits(), "source")
    assert plan is not None
    await objects.put(at("m/file"), b"1" * 1000)
    with pytest.raises(InvalidRequest, match="changed"):
        await objects.copy_tree(at("m"), tmp_path / "out", plan)


async def test_s3_without_credentials_asks_nobody(s3: str) -> None:
    with pytest.raises(Unavailable) as caught:
        await Objects(s3, {}).info(at("x"))
    assert "AWS_ACCESS_KEY_ID" in caught.value.message


async def test_buckets_inside_one_bucket(s3: str) -> None:
    with pytest.raises(Unavailable):
        await Objects("s3://all/of/it", {"AWS_ACCESS_KEY_ID": "x"}).info(at("x"))
