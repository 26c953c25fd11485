"""One instance with real processes: its answers, its failures, its end."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from instance_support import ECHO, launch, running, wait_for, write_package
from modelyard.runtime.local.front_health import ask

NOT_COMPUTED = "x-modelyard-not-computed"
BASE = "from model_service.model_service import SingleNodeService\n"
REPOSITORY = Path(__file__).parents[3]


def test_forms_json_and_queries_reach_the_script(tmp_path: Path) -> None:
    script = BASE + (
        "class Echo(SingleNodeService):\n"
        "    def _preprocess(self, data):\n"
        "        return {k: {n: [f.name, f.read().decode()] for n, f in v.items()}\n"
        "                if isinstance(v, dict) else v for k, v in data.items()}\n"
    )
    package = write_package(tmp_path / "p", script)
    with running(package, tmp_path / "i") as instance:
        instance.wait_phase("ready")
        answer = instance.post("/?extra=1&a=no", json={"a": 5})
        assert answer.json() == {"extra": "1", "a": 5}
        assert answer.headers["x-modelyard-model-version"] == "0.0.1"
        assert answer.headers["x-modelyard-instance"] == instance.instance_id
        assert answer.headers["content-type"] == "application/json"
        files = [
            ("images", ("a.txt", b"one")),
            ("images", ("a.txt", b"two")),
            ("other", ("b.txt", b"three")),
        ]
        answer = instance.post("/?q=x", files=files, data={"note": "é"})
        assert answer.json() == {
            "q": "x",
            "note": "é",
            "images": {"a.txt": ["a.txt", "one"], "a_1.txt": ["a_1.txt", "two"]},
            "other": {"b.txt": ["b.txt", "three"]},
        }
        health = instance.get()
        assert health.status_code == 200
        assert health.json() == {
            "instance_id": instance.instance_id,
            "status": "ready",
            "inflight": 0,
            "workers": 1,
            "message": "",
            "losses": 0,
            "last_loss": "",
        }


def test_an_api_may_be_called_health(tmp_path: Path) -> None:
    config = {"apis": [{"url": "/health", "method": "get"}]}
    package = write_package(tmp_path / "p", ECHO, config)
    with running(package, tmp_path / "i") as instance:
        port = instance.wait_phase("ready")["port"]
        assert instance.get("/health?a=1").json() == {"seen": {"a": "1"}}
        health = asyncio.run(ask("127.0.0.1", port, 5))
        assert health is not None
        assert (health.instance_id, health.status) == (instance.instance_id, "ready")


def test_refusals_have_the_apis_shape(tmp_path: Path) -> None:
    config = {"apis": [{"url": "/predict", "method": "post"}, {"url": "/info", "method": "get"}]}
    package = write_package(tmp_path / "p", ECHO, config)
    with running(package, tmp_path / "i", body_limit=1000) as instance:
        instance.wait_phase("ready")

        def chunks() -> object:
            yield b"[" + b" " * 600
            yield b" " * 600 + b"]"

        form = {"content-type": "multipart/form-data; boundary=x"}
        table = [
            (instance.post("/predict/", json={}), 200, None),
            (instance.get("/info?a=1"), 200, None),
            (instance.post("/"), 404, "ModelArts.4204"),
            (instance.get("/predict"), 405, "APIG.0101"),
            (instance.post("/info", json=1), 405, "APIG.0101"),
            (instance.post("/predict"), 400, "ModelArts.4202"),
            (instance.post("/predict", content=b"", headers=form), 400, "ModelArts.4202"),
            (instance.post("/predict", content=b"{"), 400, "ModelArts.4105"),
            (instance.post("/predict", content=b"{", headers=form), 400, "ModelArts.4105"),
            (instance.post("/predict", content=b" " * 1001), 413, "ModelArts.4104"),
            (instance.post("/predict", content=chunks()), 413, "ModelArts.4104"),
            (instance.post("/predict", content=b"[" + b" " * 998 + b"]"), 200, None),
        ]
        for number, (answer, status, code) in enumerate(table):
            assert answer.status_code == status, (number, answer.text)
            assert answer.json().get("error_code") == code, number
            if code:
                assert answer.json()["error_msg"]
        assert table[1][0].json() == {"seen": {"a": "1"}}
        assert table[3][0].headers["allow"] == "POST"


def test_answers_of_every_kind_and_the_scripts_exceptions(tmp_path: Path) -> None:
    script = BASE + (
        "import numpy as np, sys\n"
        "class Kinds(SingleNodeService):\n"
        "    def inference(self, data):\n"
        "        kind = data['kind']\n"
        "        if kind == 'exit': sys.exit(1)\n"
        "        if kind == 'value': raise ValueError('bad value')\n"
        "        if kind == 'type': return 1 + 'x'\n"
        "        return {'text': 'grün', 'json': '[1]', 'numpy': np.arange(3),\n"
        "                'scalar': {'x': np.float32(1)}, 'list': [1], 'none': None,\n"
        "                'object': object()}[kind]\n"
    )
    package = write_package(tmp_path / "p", script)
    with running(package, tmp_path / "i") as instance:
        instance.wait_phase("ready")
        for kind, value in {
            "text": "grün",
            "json": [1],
            "numpy": [0, 1, 2],
            "scalar": {"x": 1.0},
            "list": [1],
            "none": None,
        }.items():
            answer = instance.post(json={"kind": kind})
            assert (answer.status_code, answer.json()) == (200, value)
        for kind, status, reason in (
            ("unknown", 400, "KeyError: 'unknown'"),
            ("type", 400, "TypeError: unsupported operand type(s) for +: 'int' and 'str'"),
            ("value", 500, "ValueError: bad value"),
            ("exit", 500, "SystemExit: 1"),
            ("object", 500, "TypeError: a builtins.object cannot be told in JSON"),
        ):
            answer = instance.post(json={"kind": kind})
            assert answer.status_code == status
            assert answer.json() == {
                "erno": "MR.0105",
                "msg": "Recognition failed",
                "words_result": {},
                "reason": reason,
            }
        assert len(instance.workers()) == 1
        assert "ValueError: bad value" in instance.log()


def test_the_worker_sees_a_clean_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = BASE + (
        "import os, sys, tempfile\n"
        "print('printed while loading'); os.write(2, b'from below\\n')\n"
        "class World(SingleNodeService):\n"
        "    def __init__(self, model_name, model_path):\n"
        "        self.first = open('scratch.txt', 'w').write('x')\n"
        "    def inference(self, data):\n"
        "        return {'env': dict(os.environ), 'cwd': os.getcwd(), 'path': sys.path,\n"
        "                'model': [self.model_name, self.model_path]}\n"
    )
    package = write_package(tmp_path / "p", script)
    monkeypatch.setenv("MODELYARD_SECRET", "canary-secret")
    with running(package, tmp_path / "i", envs={"LEVEL": "info"}, cpu=2) as instance:
        instance.wait_phase("ready")
        world = instance.post(json={}).json()
        assert "canary-secret" not in json.dumps(world)
        assert world["env"]["LEVEL"] == "info"
        assert world["env"]["OMP_NUM_THREADS"] == "2"
        assert world["cwd"] == world["env"]["HOME"] == str(tmp_path / "i" / "work")
        assert world["path"][0] == world["model"][1] == str(package / "model")
        assert world["model"][0] == "echo"
        assert (tmp_path / "i" / "work" / "scratch.txt").exists()
        assert not list((package / "model").glob("__pycache__"))
        assert "Z model printed while loading\n" in instance.log()
        assert "Z model from below\n" in instance.log()


@pytest.mark.parametrize(
    ("script", "config", "words"),
    [
        ("import no_such_thing\n", None, "No module named 'no_such_thing'"),
        ("x = (\n", None, "customize_service.py:1"),
        ("import os\nos._exit(7)\n", None, "exited with status 7"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", None, "SIGSEGV"),
        ("import sys\nsys.exit('no gpu')\n", None, "SystemExit: no gpu"),
        ("pass\n", None, "no class that derives from a base service"),
        (ECHO, '{"apis": [}', "line 1, column 11"),
        (None, None, "customize_service.py"),
    ],
)
def test_a_package_that_cannot_be_loaded_says_why(
    tmp_path: Path, script: str | None, config: str | None, words: str
) -> None:
    package = write_package(tmp_path / "p", script, config)
    with running(package, tmp_path / "i") as instance:
        state = instance.wait_phase("failed")
        assert words in state["message"]
        health = instance.get()
        assert health.status_code == 503
        assert health.json()["status"] == "failed"
        assert words in health.json()["message"]
        if config is None:
            answer = instance.post(json={})
            assert (answer.status_code, answer.json()["error_code"]) == (503, "ModelArts.4302")
            assert words in answer.json()["error_msg"]
        wait_for(lambda: not instance.workers(), "the worker to be gone")
        assert instance.terminate() == 0


def test_while_the_model_loads_callers_are_told_at_once(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script = f"open({str(gate)!r}).read()\n" + ECHO
    package = write_package(tmp_path / "p", script)
    with running(package, tmp_path / "i") as instance:
        instance.wait_phase("starting")
        answer = instance.post(json={})
        assert (answer.status_code, answer.json()["error_code"]) == (503, "ModelArts.4302")
        assert answer.headers[NOT_COMPUTED] == "1"
        assert instance.get().json()["status"] == "starting"
        gate.write_text("open")
        instance.wait_phase("ready")
        assert instance.post(json={}).status_code == 200


def test_a_crash_is_told_and_the_worker_replaced(tmp_path: Path) -> None:
    script = BASE + (
        "import os, signal\n"
        "class Fragile(SingleNodeService):\n"
        "    def inference(self, data):\n"
        "        if data.get('die'): os.kill(os.getpid(), signal.SIGABRT)\n"
        "        return os.getpid()\n"
    )
    package = write_package(tmp_path / "p", script)
    with running(package, tmp_path / "i") as instance:
        instance.wait_phase("ready")
        before = instance.post(json={}).json()
        answer = instance.post(json={"die": True})
        assert (answer.status_code, answer.json()["error_code"]) == (500, "ModelArts.4302")
        assert "SIGABRT" in answer.json()["error_msg"]
        assert NOT_COMPUTED not in answer.headers
        instance.wait_phase("ready")
        after = instance.post(json={}).json()
        assert after != before
        health = instance.get().json()
        assert (health["losses"], health["last_loss"]) == (1, "it was killed by SIGABRT")
        assert instance.workers() == [after]


def test_an_endless_prediction_is_ended_with_its_children(tmp_path: Path) -> None:
    script = BASE + (
        "import subprocess\n"
        "class Endless(SingleNodeService):\n"
        "    def inference(self, data):\n"
        "        if data.get('loop'):\n"
        "            subprocess.Popen(['sleep', '600'])\n"
        "            while True: pass\n"
        "        return 1\n"
    )
    package = write_package(tmp_path / "p", script)
    with running(package, tmp_path / "i", request_timeout_s=0.5) as instance:
        instance.wait_phase("ready")
        first = instance.workers()
        answer = instance.post(json={"loop": True})
        assert (answer.status_code, answer.json()["error_code"]) == (504, "ModelArts.4503")
        assert "0.5 s" in answer.json()["error_msg"]
        wait_for(lambda: not set(first) & set(instance.workers()), "the end of the looping worker")
        wait_for(instance.workers, "another worker")
        instance.wait_phase("ready")
        assert instance.post(json={}).json() == 1
        assert len(instance.workers()) == 1
        assert "ran longer than 0.5 s" in instance.log()


def test_a_full_queue_answers_at_once(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script = BASE + (
        "class Slow(SingleNodeService):\n"
        "    def inference(self, data):\n"
        f"        return open({str(gate)!r}).read() if data else 'fast'\n"
    )
    package = write_package(tmp_path / "p", script)
    with running(package, tmp_path / "i", queue_limit=2) as instance:
        instance.wait_phase("ready")
        answers: list[httpx.Response] = []
        url = instance.url
        callers = [
            threading.Thread(target=lambda: answers.append(httpx.post(url, json={"a": 1})))
            for _ in range(2)
        ]
        callers[0].start()
        wait_for(lambda: instance.get().json()["inflight"] == 1, "the first to be under way")
        callers[1].start()
        wait_for(lambda: instance.get().json()["inflight"] == 2, "both to be under way")
        refused = instance.post(json={"a": 1})
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert "overloaded" in refused.json()["error_msg"]
        assert refused.headers[NOT_COMPUTED] == "1"
        gate.write_text("1")
        wait_for(lambda: len(answers) == 1, "the first answer")
        gate.write_text("2")
        for caller in callers:
            caller.join()
        assert [one.status_code for one in answers] == [200, 200]
        assert not any(NOT_COMPUTED in one.headers for one in answers)


def test_whoever_hangs_up_while_waiting_is_not_computed(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script = BASE + (
        "seen = []\n"
        "class Slow(SingleNodeService):\n"
        "    def inference(self, data):\n"
        "        seen.append(data['n'])\n"
        f"        return open({str(gate)!r}).read() if data['n'] == 1 else seen\n"
    )
    package = write_package(tmp_path / "p", script)
    with running(package, tmp_path / "i") as instance:
        port = instance.wait_phase("ready")["port"]
        callers = []
        for number in (1, 2):
            body = b'{"n": %d}' % number
            caller = socket.create_connection(("127.0.0.1", port))
            caller.sendall(
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            callers.append(caller)
            wait_for(lambda: instance.get().json()["inflight"] == len(callers), "the call")
        callers[1].close()
        wait_for(lambda: instance.get().json()["inflight"] == 1, "the hang-up to be seen")
        gate.write_text("1")
        assert b"200 OK" in callers[0].recv(65536)
        callers[0].close()
        assert instance.post(json={"n": 3}).json() == [1, 3]


def test_a_drain_under_load_loses_nothing(tmp_path: Path) -> None:
    script = BASE + (
        "import time\n"
        "class Steady(SingleNodeService):\n"
        "    def inference(self, data):\n"
        "        time.sleep(0.005)\n"
        "        return data\n"
    )
    package = write_package(tmp_path / "p", script)
    with running(package, tmp_path / "i") as instance:
        instance.wait_phase("ready")
        url = instance.url
        until = threading.Event()
        wrong: list[str] = []
        done: list[int] = []

        def call(number: int) -> None:
            with httpx.Client(timeout=20) as client:
                while not until.is_set():
                    try:
                        answer = client.post(url, json={"n": number})
                    except httpx.HTTPError as error:
                        wrong.append(repr(error))
                        continue
                    if answer.status_code != 200 or answer.json() != {"n": number}:
                        wrong.append(answer.text)
                    done.append(number)

        callers = [threading.Thread(target=call, args=(one,)) for one in range(8)]
        for caller in callers:
            caller.start()
        wait_for(lambda: len(done) > 50, "load")
        instance.process.send_signal(signal.SIGTERM)
        health = wait_for(
            lambda: (got := instance.get()).status_code == 503 and got, "the drain to begin"
        )
        assert health.json()["status"] == "draining"
        assert instance.state()["phase"] == "draining"
        assert instance.post(json={}).headers["connection"] == "close"
        seen = len(done)
        wait_for(lambda: len(done) > seen + 50, "predictions served while draining")
        assert instance.process.poll() is None
        until.set()
        for caller in callers:
            caller.join()
        assert wrong == []
        assert instance.process.wait(10) == 0
        wait_for(lambda: not instance.workers(), "the worker to be gone")


def test_a_drain_ends_after_its_grace(tmp_path: Path) -> None:
    script = BASE + (
        "import time\n"
        "class Stuck(SingleNodeService):\n"
        "    def inference(self, data):\n"
        "        time.sleep(600)\n"
    )
    package = write_package(tmp_path / "p", script)
    with running(package, tmp_path / "i", drain_grace_s=0.5) as instance:
        instance.wait_phase("ready")
        outcome: list[httpx.Response] = []

        def call(url: str) -> None:
            outcome.append(httpx.post(url, json={}, timeout=30))

        caller = threading.Thread(target=call, args=(instance.url,))
        caller.start()
        wait_for(lambda: instance.get().json()["inflight"] == 1, "the call to be under way")
        begin = time.monotonic()
        assert instance.terminate() == 0
        assert time.monotonic() - begin < 10
        caller.join()
        assert [one.status_code for one in outcome] == [503]
        assert "being stopped" in outcome[0].text
        assert NOT_COMPUTED not in outcome[0].headers
        assert instance.workers() == []


@pytest.mark.parametrize("busy", [False, True])
def test_the_worker_dies_with_a_killed_front(tmp_path: Path, busy: bool) -> None:
    script = BASE + (
        "class Busy(SingleNodeService):\n    def inference(self, data):\n        while True: pass\n"
    )
    package = write_package(tmp_path / "p", script)
    with running(package, tmp_path / "i") as instance:
        instance.wait_phase("ready")
        if busy:
            body = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
            caller = socket.create_connection(("127.0.0.1", instance.state()["port"]))
            caller.sendall(body)
            wait_for(lambda: instance.get().json()["inflight"] == 1, "the loop")
        assert len(instance.workers()) == 1
        os.kill(instance.process.pid, signal.SIGKILL)
        wait_for(lambda: not instance.workers(), "the worker to be gone", 5)
        if busy:
            caller.close()


def test_a_second_front_of_the_same_folder_leaves_at_once(tmp_path: Path) -> None:
    package = write_package(tmp_path / "p", ECHO)
    with running(package, tmp_path / "i") as instance:
        before = instance.wait_phase("ready")
        assert launch(instance.folder).wait(10) == 0
        assert instance.state() == before
        assert instance.post(json={}).status_code == 200


def test_a_package_without_script_is_served_by_the_default_handler(tmp_path: Path) -> None:
    package = write_package(tmp_path / "p", None, model_type="Scikit_Learn")
    make = (
        "import pickle, sys; from sklearn.dummy import DummyClassifier;"
        "m = DummyClassifier(strategy='constant', constant=4).fit([[0, 0]] * 2, [4, 5]);"
        "pickle.dump(m, open(sys.argv[1], 'wb'))"
    )
    subprocess.run([sys.executable, "-c", make, str(package / "model" / "m.pkl")], check=True)
    with running(package, tmp_path / "i", model_type="Scikit_Learn") as instance:
        instance.wait_phase("ready")
        rows = {"req_data": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]}
        answer = instance.post(json={"meta": {"uuid": "u"}, "data": rows})
        assert answer.json() == {
            "meta": {"uuid": "u"},
            "data": {"resp_data": [{"predictresult": 4}, {"predictresult": 4}]},
        }
        form = instance.post(files={"a": b"x"})
        assert (form.status_code, form.json()["error_code"]) == (400, "ModelArts.4105")


def test_a_foreign_interpreter_runs_the_worker(tmp_path: Path) -> None:
    """The seam for an environment per package: any Python, without our environment around it."""
    package = write_package(tmp_path / "p", ECHO)
    other = getattr(sys, "_base_executable", sys.executable)
    with running(package, tmp_path / "i", python=other) as instance:
        instance.wait_phase("ready")
        assert instance.post(json={"a": [1, None]}).json() == {"seen": {"a": [1, None]}}


@pytest.mark.parametrize(("name", "version"), [("iris-1", "0.0.1"), ("iris-2", "0.0.2")])
def test_the_iris_examples_predict(tmp_path: Path, name: str, version: str) -> None:
    package = _trained(name, tmp_path / "p")
    with running(package, tmp_path / "i", model_type="Scikit_Learn") as instance:
        instance.wait_phase("ready")
        rows = [
            {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2},
            {"petal_width": 2.3, "petal_length": 6.9, "sepal_width": 2.6, "sepal_length": 7.7},
        ]
        answer = instance.post(json={"data": {"req_data": rows}})
        assert answer.json() == {
            "data": {
                "resp_data": [
                    {"predict_result": "setosa", "model_version": version},
                    {"predict_result": "virginica", "model_version": version},
                ]
            }
        }


def test_the_digits_example_reads_a_picture(tmp_path: Path) -> None:
    package = _trained("digits", tmp_path / "p")
    with running(package, tmp_path / "i", model_type="Scikit_Learn") as instance:
        instance.wait_phase("ready")
        picture = (package / "sample.png").read_bytes()
        answer = instance.post(files={"images": ("seven.png", picture, "image/png")}).json()
        assert answer["predicted_label"] == "7"
        assert len(answer["scores"]) == 10
        assert answer["scores"][0][0] == "7"
        missing = instance.post(files={"photo": ("seven.png", picture, "image/png")})
        assert missing.status_code == 400
        assert missing.json()["erno"] == "MR.0105"


def _trained(name: str, folder: Path) -> Path:
    model = REPOSITORY / "examples" / name / "model"
    shutil.copytree(model, folder / "model", ignore=shutil.ignore_patterns("*.joblib"))
    train = REPOSITORY / "examples" / name / "train.py"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, str(train), str(folder)], check=True, env=environment)
    return folder
