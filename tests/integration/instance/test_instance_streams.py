"""Answers in pieces: events, chunks, failures half-way, callers who leave or do not read."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from instance_support import Instance, running, wait_for, write_package

SCRIPT = """
from model_service.model_service import SingleNodeService
class Teller(SingleNodeService):
    def inference(self, data):
        if data.get("plain"):
            return {"plain": True}
        return self.tell(data)
    def tell(self, data):
        if "first" in data:
            raise KeyError("before the first piece")
        for number, piece in enumerate(data.get("pieces", [])):
            if "gate" in data and number:
                open(data["gate"]).read()
            yield piece
        while "endless" in data:
            open(data["endless"], "a").write("x")
            yield "x" * data.get("size", 10)
        if "last" in data:
            raise ValueError("too late")
        while "loop" in data:
            pass
"""
EVENTS = {"accept": "text/event-stream"}
DECLARED = {
    "model_type": "MindSpore",
    "apis": [{"url": "/", "method": "post", "response": {"Content-type": "text/event-stream"}}],
}


def package(tmp_path: Path, config: Any = None) -> Path:
    return write_package(tmp_path / "p", SCRIPT, config)


def test_pieces_come_as_what_they_are_or_as_events(tmp_path: Path) -> None:
    with running(package(tmp_path), tmp_path / "i") as instance:
        instance.wait_phase("ready")
        texts = instance.post(json={"pieces": ["a", "b\nc", "ü"]})
        assert texts.headers["content-type"] == "text/plain; charset=utf-8"
        assert texts.headers["transfer-encoding"] == "chunked"
        assert texts.text == "ab\ncü"
        values = instance.post(json={"pieces": [{"n": 1}, [2], 3]})
        assert values.headers["content-type"] == "application/x-ndjson"
        assert [json.loads(one) for one in values.text.splitlines()] == [{"n": 1}, [2], 3]
        events = instance.post(json={"pieces": ["a", "b\nc", {"n": 1}]}, headers=EVENTS)
        assert events.headers["content-type"] == "text/event-stream"
        assert events.text == 'data: a\n\ndata: b\ndata: c\n\ndata: {"n":1}\n\n'
        assert instance.post(json={"pieces": []}).text == ""
        # What is no generator is an answer as ever, also for who would take events.
        assert instance.post(json={"plain": 1}, headers=EVENTS).json() == {"plain": True}


def test_an_api_may_declare_events(tmp_path: Path) -> None:
    with running(package(tmp_path, DECLARED), tmp_path / "i") as instance:
        instance.wait_phase("ready")
        assert instance.post(json={"pieces": ["a"]}).text == "data: a\n\n"


def test_each_piece_goes_out_when_it_is_there(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with running(package(tmp_path), tmp_path / "i") as instance:
        instance.wait_phase("ready")
        body = {"pieces": ["one", "two"], "gate": str(gate)}
        with instance.client.stream("POST", instance.url, json=body) as answer:
            pieces = answer.iter_text()
            assert next(pieces) == "one"
            gate.write_text("")
            assert "".join(pieces) == "two"


def test_failures_before_and_after_the_first_piece(tmp_path: Path) -> None:
    with running(package(tmp_path), tmp_path / "i") as instance:
        instance.wait_phase("ready")
        early = instance.post(json={"first": 1})
        assert (early.status_code, early.json()["erno"]) == (400, "MR.0105")
        body = {"pieces": ["a"], "last": 1}
        found = ""
        with (
            pytest.raises(httpx.RemoteProtocolError),
            instance.client.stream("POST", instance.url, json=body, headers=EVENTS) as answer,
        ):
            for piece in answer.iter_text():
                found += piece
        assert found.startswith("data: a\n\nevent: error\ndata: ")
        assert "too late" in found


def test_an_answer_that_is_broken_off_is_not_whole(tmp_path: Path) -> None:
    with running(package(tmp_path), tmp_path / "i", request_timeout_s=0.5) as instance:
        instance.wait_phase("ready")
        assert not _whole(instance, {"pieces": ["a"], "last": 1})
        assert instance.post(json={"plain": 1}).status_code == 200
        # The limit of time counts from the latest piece, and ends the worker.
        assert not _whole(instance, {"pieces": ["a"], "loop": 1})
        wait_for(lambda: "ran longer than 0.5 s" in instance.log(), "the end of the worker")
        instance.wait_phase("ready")
        assert _whole(instance, {"pieces": ["a"]})


def _ask(instance: Instance, body: Any) -> socket.socket:
    caller = socket.create_connection(("127.0.0.1", instance.state()["port"]), timeout=20)
    text = json.dumps(body).encode()
    caller.sendall(
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
        % (len(text), text)
    )
    return caller


def _whole(instance: Instance, body: Any) -> bool:
    with _ask(instance, body) as caller:
        found = b""
        while data := caller.recv(65536):
            found += data
    assert b"1\r\na\r\n" in found
    return found.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_a_caller_who_leaves_or_does_not_read_frees_the_worker(tmp_path: Path, size: int) -> None:
    trace = tmp_path / "trace"
    with running(package(tmp_path), tmp_path / "i", request_timeout_s=1.0) as instance:
        instance.wait_phase("ready")
        before = instance.workers()
        caller = _ask(instance, {"endless": str(trace), "size": size})
        assert caller.recv(100)
        if size == 10:
            caller.close()
        # Else it stays and reads nothing: the model waits with it, for as long as it may.
        answer = instance.post(json={"plain": 1})
        while answer.status_code == 504:
            answer = instance.post(json={"plain": 1})
        assert answer.json() == {"plain": True}
        assert instance.workers() == before
        told = trace.stat().st_size
        assert instance.post(json={"plain": 1}).status_code == 200
        assert trace.stat().st_size == told
        caller.close()
