"""Batches and several workers of one instance, as its callers see them."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

from instance_support import Instance, running, wait_for, write_package

BASE = "from model_service.model_service import SingleNodeService\n"
GATED = (
    BASE
    + "import os\n"
    + "class Gated(SingleNodeService):\n"
    + "    def _inference(self, data):\n"
    + "        for row in data:\n"
    + "            if row[0] == 'wait': open(row[1]).read()\n"
    + "            if row[0] == 'die': os.abort()\n"
    + "        return [[os.getpid(), len(data), row[0]] for row in data]\n"
)


def ask(instance: Instance, body: Any) -> httpx.Response:
    return instance.post(json=body)


def raw(instance: Instance, body: Any) -> httpx.Response:
    """As ``ask``, but headers and body arrive together: who counts as under way has queued."""
    text = json.dumps(body).encode()
    with socket.create_connection(("127.0.0.1", instance.state()["port"]), timeout=20) as caller:
        caller.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
            % (len(text), text)
        )
        found = b""
        while data := caller.recv(65536):
            found += data
    head, _, content = found.partition(b"\r\n\r\n")
    return httpx.Response(int(head.split()[1]), content=content)


def behind_a_gate(instance: Instance, gate: Path, bodies: list[Any]) -> list[httpx.Response]:
    """Answers to a request that waits at ``gate``, and to ``bodies`` sent while it does."""
    with ThreadPoolExecutor(len(bodies) + 1) as pool:
        asked = [pool.submit(raw, instance, [["wait", str(gate)]])]
        wait_for(lambda: instance.get().json()["inflight"] == 1, "the first to be under way")
        # Opening it for writing succeeds once the model reads.
        with gate.open("w"):
            for number, body in enumerate(bodies, start=2):
                asked.append(pool.submit(raw, instance, body))
                wait_for(
                    lambda number=number: instance.get().json()["inflight"] == number, "the call"
                )
        return [one.result() for one in asked]


def test_what_queued_is_computed_as_one(tmp_path: Path) -> None:
    config = {"model_type": "MindSpore", "batching": {"max_size": 8}}
    package = write_package(tmp_path / "p", GATED, config)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with running(package, tmp_path / "i") as instance:
        instance.wait_phase("ready")
        names = [[[f"n{number}"]] for number in range(6)]
        answers = [one.json() for one in behind_a_gate(instance, gate, names)]
    assert answers[0][0][1] == 1
    assert [one[0][2] for one in answers[1:]] == [f"n{number}" for number in range(6)]
    assert {one[0][1] for one in answers[1:]} == {6}


def test_a_batch_that_kills_the_worker_costs_only_the_guilty(tmp_path: Path) -> None:
    config = {"model_type": "MindSpore", "batching": {"max_size": 8}}
    package = write_package(tmp_path / "p", GATED, config)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with running(package, tmp_path / "i") as instance:
        instance.wait_phase("ready")
        bodies = [[["a"]], [["die"]], [["b"]], [["c"]]]
        answers = behind_a_gate(instance, gate, bodies)
        assert [one.status_code for one in answers] == [200, 200, 500, 200, 200]
        assert "SIGABRT" in answers[2].json()["error_msg"]
        # Each of the suspects was computed alone.
        assert [one.json()[0][1] for one in (answers[1], answers[3], answers[4])] == [1, 1, 1]


def test_a_bare_classifier_is_batched_and_never_mixed_up(tmp_path: Path) -> None:
    flowers, kinds = load_iris(return_X_y=True)
    package = write_package(tmp_path / "p", None, model_type="Scikit_Learn")
    tree = DecisionTreeClassifier(random_state=0).fit(flowers, kinds)
    (package / "model" / "tree.pkl").write_bytes(pickle.dumps(tree))
    with running(package, tmp_path / "i", model_type="Scikit_Learn") as instance:
        instance.wait_phase("ready")

        def predicted(number: int) -> tuple[int, Any]:
            rows = [list(flowers[number % 150])] if number % 7 else [["bad", 1, 2, 3]]
            answer = ask(instance, {"req_data": rows, "meta": {"uuid": number}})
            return number, answer.json()

        with ThreadPoolExecutor(16) as pool:
            for number, answer in pool.map(predicted, range(300)):
                if number % 7:
                    assert answer["resp_data"] == [{"predictresult": kinds[number % 150]}]
                    assert answer["meta"] == {"uuid": number}
                else:
                    assert answer["erno"] == "MR.0105"


WORKERS = (
    BASE
    + "import os\n"
    + "class Several(SingleNodeService):\n"
    + "    def inference(self, data):\n"
    + "        if 'gate' in data: open(data['gate']).read()\n"
    + "        while 'loop' in data: pass\n"
    + "        open('scratch', 'a').write('x')\n"
    + "        return [os.getpid(), os.getcwd()]\n"
)


def several(tmp_path: Path) -> Path:
    return write_package(tmp_path / "p", WORKERS, {"model_type": "MindSpore", "workers": 2})


def test_two_workers_compute_at_the_same_time_in_folders_of_their_own(tmp_path: Path) -> None:
    gates = [tmp_path / "a", tmp_path / "b"]
    for gate in gates:
        os.mkfifo(gate)
    with running(several(tmp_path), tmp_path / "i") as instance:
        instance.wait_phase("ready")
        wait_for(lambda: instance.get().json()["workers"] == 2, "both workers")
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(ask, instance, {"gate": str(gate)}) for gate in gates]
            # Each gate opens only for a model that reads: both are computing.
            with gates[0].open("w"), gates[1].open("w"):
                pass
            answers = [one.result().json() for one in asked]
    assert len({pid for pid, _ in answers}) == 2
    assert {Path(folder).name for _, folder in answers} == {"work", "work-1"}


def test_one_worker_dies_or_loops_and_the_other_goes_on(tmp_path: Path) -> None:
    with running(several(tmp_path), tmp_path / "i", request_timeout_s=1.0) as instance:
        instance.wait_phase("ready")
        wait_for(lambda: instance.get().json()["workers"] == 2, "both workers")
        with ThreadPoolExecutor(2) as pool:
            looping = pool.submit(ask, instance, {"loop": 1})
            while not looping.done():
                assert ask(instance, {}).status_code == 200
        assert looping.result().status_code == 504
        assert instance.state()["phase"] == "ready"
        wait_for(lambda: "ran longer than 1 s" in instance.log(), "the end of the looping worker")
        wait_for(lambda: instance.get().json()["workers"] == 2, "its replacement")

        os.kill(instance.workers()[0], signal.SIGKILL)
        wait_for(lambda: "SIGKILL" in instance.log(), "word of its end")
        for _ in range(20):
            assert ask(instance, {}).status_code == 200
        wait_for(lambda: instance.get().json()["workers"] == 2, "its replacement")


def test_a_wrong_number_of_workers_is_told(tmp_path: Path) -> None:
    config = json.dumps({"model_type": "MindSpore", "workers": "many"})
    package = write_package(tmp_path / "p", WORKERS, config)
    with running(package, tmp_path / "i") as instance:
        assert "workers is text and no whole number" in instance.wait_phase("failed")["message"]
