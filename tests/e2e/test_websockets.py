"""WebSockets on a whole platform: turned on for good, kept through updates, none cut off."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from live import entry, import_echo, put, service, show, until, update
from stack import Stack

ON = {"websocket_upgrade": True}
LIMIT_S = 30


def client(stack: Stack, service_id: str) -> ClientConnection:
    url = f"{stack.address}/v1/infers/{service_id}".replace("http", "ws", 1)
    headers = {"X-Auth-Token": stack.client.headers["X-Auth-Token"]}
    return connect(url, additional_headers=headers, proxy=None, open_timeout=LIMIT_S)


def ask(caller: ClientConnection, message: Any) -> Any:
    caller.send(json.dumps(message))
    return json.loads(caller.recv(timeout=LIMIT_S))


def refusal(stack: Stack, service_id: str) -> int:
    """The status of a refused handshake; 0 when it was accepted."""
    try:
        with client(stack, service_id):
            pass
    except InvalidStatus as error:
        return error.response.status_code
    return 0


class Talker(threading.Thread):
    """Sends message after message, and connects again when it is told that the instance goes.

    ``answers``: versions that answered, oldest first. ``unanswered``: messages whose connection was
    closed first, with its code. ``trouble``: whatever else happened.
    """

    def __init__(self, stack: Stack, service_id: str) -> None:
        super().__init__()
        self.answers: list[str] = []
        self.unanswered: list[int | None] = []
        self.trouble: list[str] = []
        self._stack = stack
        self._service_id = service_id
        self._over = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._over.is_set():
            try:
                with client(self._stack, self._service_id) as caller:
                    while not self._over.is_set():
                        number += 1
                        self._one(caller, number)
            except ConnectionClosed as closed:
                self.unanswered.append(closed.rcvd.code if closed.rcvd else None)
            except (InvalidHandshake, OSError, TimeoutError) as error:
                self.trouble.append(repr(error))

    def _one(self, caller: ClientConnection, number: int) -> None:
        answer = ask(caller, {"number": number})
        if answer.get("echo") == {"number": number}:
            self.answers.append(answer["version"])
        else:
            self.trouble.append(str(answer))

    def stop(self) -> None:
        self._over.set()
        self.join(LIMIT_S)


@contextmanager
def talking(stack: Stack, service_id: str, count: int) -> Iterator[list[Talker]]:
    """``count`` clients at work for the length of a block."""
    talkers = [Talker(stack, service_id) for _ in range(count)]
    for one in talkers:
        one.start()
    try:
        yield talkers
    finally:
        for one in talkers:
            one.stop()


def test_it_is_turned_on_for_good(stack: Stack, tmp_path: Path) -> None:
    model = import_echo(stack, tmp_path, "talk-on", "1.0.0")
    with service(stack, [entry(model, 100)]) as service_id:
        assert refusal(stack, service_id) == 403
        assert show(stack, service_id)["invocation_times"] == 0
        turned_on = put(stack, service_id, {"additional_properties": ON})
        assert turned_on.status_code == 200, turned_on.text
        until(lambda: refusal(stack, service_id) == 0, 20)
        with client(stack, service_id) as caller:
            assert ask(caller, {"n": 1}) == {"version": "1.0.0", "echo": {"n": 1}}
            caller.send(b'{"n": 2}')
            assert json.loads(caller.recv(timeout=LIMIT_S))["echo"] == {"n": 2}
            head = caller.response
            assert head is not None
            assert head.headers["x-modelyard-model-version"] == "1.0.0"
            assert stack.predict(service_id, {"n": 3}).json()["echo"] == {"n": 3}
            # The instance is told, and so is the client.
            shown = show(stack, service_id)
            assert shown["additional_properties"] == ON
            assert "pending" not in shown
            assert "invocation_times" not in shown
            off = put(stack, service_id, {"additional_properties": {"websocket_upgrade": False}})
            assert off.status_code == 400
            assert "additional_properties.websocket_upgrade" in off.json()["error_msg"]
            other = put(stack, service_id, {"additional_properties": {"owner": "jo"}})
            assert other.status_code == 200, other.text
            assert show(stack, service_id)["additional_properties"] == {"owner": "jo", **ON}
            assert ask(caller, {"n": 4})["echo"] == {"n": 4}


def test_an_update_answers_or_says_that_it_did_not(stack: Stack, tmp_path: Path) -> None:
    first = import_echo(stack, tmp_path, "talk-update", "1.0.0")
    second = import_echo(stack, tmp_path, "talk-update", "2.0.0")
    with service(stack, [entry(first, 100, 2)], additional_properties=ON) as service_id:
        with client(stack, service_id) as idle, talking(stack, service_id, 4) as talkers:
            assert ask(idle, {})["version"] == "1.0.0"
            until(lambda: all(one.answers for one in talkers), LIMIT_S)
            log = update(stack, service_id, [entry(second, 100, 2)])
            until(lambda: all(one.answers[-1:] == ["2.0.0"] for one in talkers), LIMIT_S)
            with pytest.raises(ConnectionClosed) as closed:
                idle.recv(timeout=LIMIT_S)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
        assert log["result"] == "SUCCESS"
        for one in talkers:
            assert one.trouble == []
            assert one.answers == sorted(one.answers)
            # Each is told once, and connects again; what had no answer was not computed.
            assert set(one.unanswered) <= {1001}
            assert len(one.unanswered) <= 2


def test_down_tells_who_is_connected(fresh_stack: Stack, tmp_path: Path) -> None:
    stack = fresh_stack
    model = import_echo(stack, tmp_path, "talk-down", "1.0.0")
    service_id = stack.create_service("talk-down", {model: 100}, additional_properties=ON)
    with client(stack, service_id) as caller:
        assert ask(caller, {})["version"] == "1.0.0"
        stack.down()
        with pytest.raises(ConnectionClosed) as closed:
            caller.recv(timeout=LIMIT_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
