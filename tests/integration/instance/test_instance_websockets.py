"""WebSockets of a real instance: predictions by message, limits, losses, and its end."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from instance_support import Instance, running, wait_for, write_package

SCRIPT = """
import os, time
from model_service.model_service import SingleNodeService
class Teller(SingleNodeService):
    def inference(self, data):
        if "pieces" in data:
            return self.tell(data)
        if "reached" in data:
            open(data["reached"], "w").close()
        if "gate" in data:
            open(data["gate"]).read()
        if "error" in data:
            raise ValueError("too bad")
        if "die" in data:
            os._exit(3)
        while "loop" in data:
            pass
        return {"seen": data}
    def tell(self, data):
        for piece in data["pieces"]:
            yield piece
        while "loop" in data:
            pass
        if "last" in data:
            raise ValueError("too late")
"""
DECLARED = {
    "model_type": "MindSpore",
    "apis": [{"url": "/", "method": "post", "response": {"Content-type": "text/event-stream"}}],
}


def package(tmp_path: Path, config: Any = None) -> Path:
    return write_package(tmp_path / "p", SCRIPT, config)


def client(instance: Instance, path: str = "/") -> ClientConnection:
    url = instance.url.replace("http", "ws", 1) + path
    return connect(url, proxy=None, max_size=None, ping_interval=None)


def ask(caller: ClientConnection, message: Any) -> Any:
    caller.send(message if isinstance(message, str | bytes) else json.dumps(message))
    return json.loads(caller.recv(timeout=20))


def test_each_message_is_a_prediction(tmp_path: Path) -> None:
    with running(package(tmp_path), tmp_path / "i", body_limit=10_000) as instance:
        instance.wait_phase("ready")
        with client(instance, "/?from=url") as caller:
            assert ask(caller, {"n": 1}) == {"seen": {"from": "url", "n": 1}}
            assert ask(caller, b'{"n": 2}') == {"seen": {"from": "url", "n": 2}}
            # What fails is answered as ever, and the next is not the worse for it.
            assert ask(caller, "{")["error_code"] == "ModelArts.4105"
            assert ask(caller, b"\xff\xfe")["error_code"] == "ModelArts.4105"
            assert ask(caller, "")["error_code"] == "ModelArts.4202"
            assert ask(caller, {"x": "y" * 10_000})["error_code"] == "ModelArts.4104"
            failed = ask(caller, {"error": 1})
            assert (failed["erno"], failed["reason"]) == ("MR.0105", "ValueError: too bad")
            assert ask(caller, {"n": 3})["seen"]["n"] == 3
            assert instance.get().json()["inflight"] == 0


@pytest.mark.parametrize("config", [None, DECLARED])
def test_pieces_are_messages_also_where_events_are_declared(tmp_path: Path, config: Any) -> None:
    with running(package(tmp_path, config), tmp_path / "i") as instance:
        instance.wait_phase("ready")
        with client(instance) as caller:
            caller.send(json.dumps({"pieces": ["a", "b\nc", {"n": 1}]}))
            found = [caller.recv(timeout=20) for _ in range(4)]
            assert found[:2] == ["a", "b\nc"]
            assert json.loads(found[2]) == {"n": 1}
            assert found[3] == ""
            caller.send(json.dumps({"pieces": ["a"], "last": 1}))
            assert caller.recv(timeout=20) == "a"
            assert json.loads(caller.recv(timeout=20))["reason"] == "ValueError: too late"
            assert caller.recv(timeout=20) == ""
            assert ask(caller, {"n": 1}) == {"seen": {"n": 1}}


def test_a_lost_worker_costs_one_message(tmp_path: Path) -> None:
    with running(package(tmp_path), tmp_path / "i", request_timeout_s=1.0) as instance:
        instance.wait_phase("ready")
        with client(instance) as caller:
            for message, code in (({"die": 1}, "4302"), ({"loop": 1}, "4503")):
                assert ask(caller, message)["error_code"] == f"ModelArts.{code}"
                wait_for(lambda: ask(caller, {"n": 1}) == {"seen": {"n": 1}}, "another worker")


def test_the_end_of_an_instance_loses_no_message(tmp_path: Path) -> None:
    gate, reached = tmp_path / "gate", tmp_path / "reached"
    os.mkfifo(gate)
    with running(package(tmp_path), tmp_path / "i", drain_grace_s=20) as instance:
        instance.wait_phase("ready")
        with client(instance) as idle, client(instance) as busy:
            assert ask(idle, {"n": 1}) == {"seen": {"n": 1}}
            busy.send(json.dumps({"gate": str(gate), "reached": str(reached), "n": 2}))
            busy.send(json.dumps({"n": 3}))
            wait_for(reached.exists, "the prediction to begin")
            instance.process.send_signal(signal.SIGTERM)
            assert closed(idle) == 1001
            assert instance.get().json()["inflight"] == 1
            gate.write_text("")
            assert json.loads(busy.recv(timeout=20))["seen"]["n"] == 2
            # The next was not computed, and the client can tell.
            assert closed(busy) == 1001
            assert instance.process.wait(10) == 0


@pytest.mark.parametrize("pieces", [False, True])
def test_what_outlasts_the_grace_is_told_so(tmp_path: Path, pieces: bool) -> None:
    with running(package(tmp_path), tmp_path / "i", drain_grace_s=0.5) as instance:
        instance.wait_phase("ready")
        with client(instance) as caller:
            reached = tmp_path / "reached"
            endless = {"pieces": ["a"], "loop": 1} if pieces else {"loop": 1}
            caller.send(json.dumps({"reached": str(reached), **endless}))
            if pieces:
                assert caller.recv(timeout=20) == "a"
            else:
                wait_for(reached.exists, "the prediction to begin")
            instance.process.send_signal(signal.SIGTERM)
            assert json.loads(caller.recv(timeout=20))["error_code"] == "ModelArts.4302"
            if pieces:
                assert caller.recv(timeout=20) == ""
            assert closed(caller) == 1001
            assert instance.process.wait(10) == 0


def test_the_end_does_not_wait_for_those_who_are_silent(tmp_path: Path) -> None:
    with running(package(tmp_path), tmp_path / "i", drain_grace_s=60) as instance:
        instance.wait_phase("ready")
        with client(instance) as caller:
            assert ask(caller, {"n": 1}) == {"seen": {"n": 1}}
            assert instance.terminate() == 0
            assert closed(caller) == 1001


def closed(caller: ClientConnection) -> int | None:
    """The code that the connection is closed with; nothing may come before."""
    with pytest.raises(ConnectionClosed):
        caller.recv(timeout=20)
    return caller.protocol.close_code
