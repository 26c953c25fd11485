"""Runs of the driver as a process, against real instances, over either object store."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

import boto3
import pytest
from moto.server import ThreadedMotoServer

from forked_commands import ForkedDriver
from instance_support import Instance, running, wait_for, write_package
from modelyard.batch.spec import read_progress, read_result, write_endpoints, write_run
from modelyard.domain.batch.run import Address, Progress, Result, RunSpec
from modelyard.objects.store import Objects

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
RULE = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "index": 0},
        "text": {"type": "string", "index": 1},
    },
}
DOUBLE = """
import os, signal, time
from model_service.model_service import SingleNodeService
class Double(SingleNodeService):
    def _inference(self, data):
        text = data["text"]
        if text == "bad":
            raise ValueError("a bad row")
        if text == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        if text == "slow":
            time.sleep(0.02)
        return {"twice": 2 * data["n"], "text": text}
"""
SIZES = """
from model_service.model_service import SingleNodeService
class Sizes(SingleNodeService):
    def _preprocess(self, data):
        return [(name, file, content.read())
                for name, files in data.items() for file, content in files.items()]
    def _inference(self, data):
        (name, file, content), = data
        if content == b"bad":
            raise ValueError("a bad file")
        return {"field": name, "file": file, "size": len(content)}
"""


class Store(Protocol):
    """Either object store as its users see it, behind other code than the platform's."""

    root: str

    def put(self, bucket: str, key: str, content: bytes) -> None: ...
    def everything(self, bucket: str) -> dict[str, bytes]:
        """Every object of a bucket by its key."""

    def clear(self, bucket: str) -> None: ...


class Folder:
    """A local folder."""

    def __init__(self, path: Path) -> None:
        self.root = str(path)

    def put(self, bucket: str, key: str, content: bytes) -> None:
        path = Path(self.root, bucket, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def everything(self, bucket: str) -> dict[str, bytes]:
        folder = Path(self.root, bucket)
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }

    def clear(self, bucket: str) -> None:
        shutil.rmtree(Path(self.root, bucket), ignore_errors=True)


class Cloud:
    """S3 over HTTP."""

    def __init__(self, url: str) -> None:
        self.root = url
        self._client = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            region_name=KEYS["AWS_REGION"],
        )
        for name in ("inbox", "outbox"):
            self._client.create_bucket(Bucket=name)
            self.clear(name)

    def clear(self, bucket: str) -> None:
        for key in self.everything(bucket):
            self._client.delete_object(Bucket=bucket, Key=key)

    def put(self, bucket: str, key: str, content: bytes) -> None:
        self._client.put_object(Bucket=bucket, Key=key, Body=content)

    def everything(self, bucket: str) -> dict[str, bytes]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {
            one["Key"]: self._client.get_object(Bucket=bucket, Key=one["Key"])["Body"].read()
            for page in pages
            for one in page.get("Contents", [])
        }


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """An S3 service on a port of its own."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class _Denying(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<Error><Code>AccessDenied</Code></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_PUT = do_POST = do_GET

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def denying() -> Iterator[str]:
    """An S3 service that denies everything."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Denying) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def folder_store(tmp_path: Path) -> Store:
    return Folder(tmp_path / "objects")


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return Folder(tmp_path / "objects")
    return Cloud(request.getfixturevalue("s3_url"))


def objects_of(store: Store) -> Objects:
    """The platform's way to the same store."""
    return Objects(store.root, KEYS)


def _instance(tmp: pytest.TempPathFactory, name: str, script: str) -> Iterator[Instance]:
    folder = tmp.mktemp(name)
    with running(write_package(folder / "package", script), folder / "instance") as instance:
        instance.wait_phase("ready")
        yield instance


@pytest.fixture(scope="session")
def doubler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """Doubles ``n``; ``text`` may be ``bad``, ``deadly`` or ``slow``."""
    yield from _instance(tmp_path_factory, "doubler", DOUBLE)


@pytest.fixture(scope="session")
def sizer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """Says what it was sent in a form; a file's content may be ``bad``."""
    yield from _instance(tmp_path_factory, "sizer", SIZES)


@dataclass
class Run:
    """A run's folder below ``home``, and its driver when one was started."""

    home: Path
    spec: RunSpec
    environment: dict[str, str]
    process: ForkedDriver | None = None

    @property
    def folder(self) -> Path:
        return self.home / "batch" / self.spec.task_id

    def prepare(self) -> None:
        """``run.json``, as the control plane writes it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "run.json").exists():
            write_run(self.folder, self.spec)

    def offer(self, *instances: Instance) -> None:
        """Tell the driver of those of these instances that are ready."""
        self.prepare()
        states = [(one, one.state()) for one in instances]
        write_endpoints(
            self.folder,
            [
                Address(one.instance_id, "127.0.0.1", state["port"])
                for one, state in states
                if state.get("phase") == "ready"
            ],
        )

    def start(self, **more: str) -> ForkedDriver:
        """Start a driver."""
        self.prepare()
        self.process = ForkedDriver(
            ["--run", str(self.folder)],
            env={**self.environment, **more},
            cwd=self.folder,
            log=self.folder / "driver.log",
        )
        return self.process

    def result(self) -> Result | None:
        return read_result(self.folder)

    def progress(self) -> Progress:
        return read_progress(self.folder) or Progress()

    def log(self) -> str:
        return (self.folder / "driver.log").read_text()

    def finish(self, timeout_s: float = 90) -> Result:
        """Wait for the driver's end; it must have ended the run."""
        assert self.process is not None
        assert self.process.wait(timeout_s) == 0, self.log()
        result = self.result()
        assert result is not None, self.log()
        return result

    def whole(self, *instances: Instance) -> Result:
        """The run from its beginning to its end."""
        self.offer(*instances)
        self.start()
        return self.finish()

    def terminate(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)

    def retry(self, task_id: str) -> Run:
        """A run that computes again what failed in this one."""
        spec = replace(self.spec, task_id=task_id, retry_of=self.spec.task_id)
        return Run(self.home, spec, self.environment)


@contextmanager
def batch(home: Path, store: Store, **more: Any) -> Iterator[Run]:
    """A run of CSV files from ``obs://inbox/in/`` to ``obs://outbox/res/``; no driver is left."""
    spec = RunSpec(
        **{
            **dict.fromkeys(("service_id", "project_id", "model_id"), "test"),
            "task_id": "task-1",
            "source": "obs://inbox/in/",
            "destination": "obs://outbox/res/",
            "mapping_type": "csv",
            "mapping_rule": RULE,
            **more,
        }
    )
    environment = {
        "PATH": os.environ["PATH"],
        "MODELYARD_HOME": str(home),
        "MODELYARD_OBJECT_STORE": store.root,
        **KEYS,
    }
    run = Run(home, spec, environment)
    try:
        yield run
    finally:
        run.kill()


FILES: dict[str, Any] = {
    "mapping_type": "file",
    "mapping_rule": None,
    "content_type": "multipart/form-data",
    "field": "photo",
}
"""What a run of whole files has instead."""


def lines(content: bytes) -> list[Any]:
    """JSON lines."""
    return [json.loads(line) for line in content.decode().splitlines()]


def rows(first: int, count: int, text: str = "row") -> bytes:
    """CSV of this many rows."""
    return "".join(f"{n},{text} {n}\n" for n in range(first, first + count)).encode()


def answers(first: int, count: int, text: str = "row") -> list[dict[str, object]]:
    """What the doubler answers to ``rows``."""
    return [{"twice": 2 * n, "text": f"{text} {n}"} for n in range(first, first + count)]


__all__ = ["denying", "doubler", "folder_store", "s3_url", "sizer", "store", "wait_for"]
