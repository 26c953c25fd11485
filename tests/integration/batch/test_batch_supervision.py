"""Drivers as processes: started, known again, asked to end, killed; by a stand-in for one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from modelyard.batch.spec import read_endpoints, read_run
from modelyard.batch.supervision import RECORD_FILE, LocalDrivers, end_all
from modelyard.domain.batch.run import Address, RunSpec
from modelyard.processes import ProcessIdentity, alive, read_record

TASK = "11111111-2222-4333-8444-555555555555"
SPEC = RunSpec(
    task_id=TASK,
    service_id="s",
    project_id="p",
    model_id="m",
    source="obs://inbox/people/",
    destination="obs://outbox/res/",
    mapping_type="file",
)

# Obeys the interface: an empty ``finish`` in the folder makes it end with a result; it checkpoints
# at SIGTERM unless ``deaf`` is there; ``crash`` makes it end without a word.
STANDIN = """
import json, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[sys.argv.index("--run") + 1])
print("driving", flush=True)
if not (folder / "deaf").exists():
    def stop(*_):
        (folder / "checkpoint").touch()
        sys.exit(0)
    signal.signal(signal.SIGTERM, stop)
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
(folder / "up").touch()
while True:
    if (folder / "crash").exists():
        print("out of luck", flush=True)
        sys.exit(3)
    if (folder / "finish").exists():
        (folder / "progress.json").write_text(json.dumps({"phase": "done", "files_done": 7}))
        result = {"outcome": "finished", "progress": {"phase": "done", "files_done": 7}}
        (folder / "aside").write_text(json.dumps(result))
        (folder / "aside").rename(folder / "result.json")
        sys.exit(0)
    time.sleep(0.01)
"""


async def until(what: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not what():
        assert asyncio.get_running_loop().time() < deadline, "it did not come to that"
        await asyncio.sleep(0.01)


class Home:
    """A home's runs, and drivers over it; each ``again`` is a control plane that comes back."""

    def __init__(self, path: Path) -> None:
        self.runs = path / "batch"
        self.logs = path / "logs"
        self.folder = self.runs / TASK
        self.script = path / "standin.py"
        self.script.write_text(STANDIN)
        self.made: list[LocalDrivers] = []

    def again(self) -> LocalDrivers:
        command = (sys.executable, str(self.script))
        self.made.append(LocalDrivers(self.runs, self.logs, command=command))
        return self.made[-1]

    async def started(self) -> LocalDrivers:
        drivers = self.again()
        await drivers.prepare(SPEC)
        await drivers.start(TASK)
        await until((self.folder / "up").exists)
        return drivers

    def process(self) -> ProcessIdentity:
        found = read_record(self.folder / RECORD_FILE)
        assert found is not None
        return found


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    made = Home(tmp_path)
    yield made
    for drivers in made.made:
        drivers.close()
    await end_all(made.runs, 0.0)


async def test_a_run_is_prepared_once_and_for_its_owner_only(home: Home) -> None:
    drivers = home.again()
    assert drivers.known() == []
    assert drivers.report(TASK).alive is False
    await drivers.prepare(SPEC)
    await drivers.prepare(SPEC)
    assert read_run(home.folder) == SPEC
    assert home.folder.stat().st_mode & 0o777 == 0o700
    assert (home.folder / "run.json").stat().st_mode & 0o777 == 0o600
    assert drivers.known() == [TASK]


async def test_endpoints_are_written_when_they_change(home: Home) -> None:
    drivers = home.again()
    await drivers.prepare(SPEC)
    await drivers.point(TASK, [])
    assert read_endpoints(home.folder) == []
    one = Address("i", "127.0.0.1", 1)
    await drivers.point(TASK, [one])
    before = (home.folder / "endpoints.json").stat()
    await drivers.point(TASK, [one])
    after = (home.folder / "endpoints.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert read_endpoints(home.folder) == [one]


async def test_a_driver_is_started_once_and_comes_to_its_end(home: Home) -> None:
    drivers = await home.started()
    ended: list[str] = []
    drivers.on_exit(ended.append)
    process = home.process()
    await drivers.start(TASK)
    assert home.process() == process
    report = drivers.report(TASK)
    assert (report.alive, report.result) == (True, None)
    (home.folder / "finish").touch()
    await until(lambda: ended)
    report = drivers.report(TASK)
    assert (ended, report.alive) == ([TASK], False)
    assert report.result is not None
    assert (report.result.outcome, report.result.progress.files_done) == ("finished", 7)


async def test_a_crash_is_no_result_and_leaves_its_last_word(home: Home) -> None:
    drivers = await home.started()
    (home.folder / "crash").touch()
    await until(lambda: not drivers.report(TASK).alive)
    assert drivers.report(TASK).result is None
    assert drivers.log_tail(TASK) == "out of luck"


async def test_it_is_known_again_and_its_end_is_heard_of(home: Home) -> None:
    first = await home.started()
    process = home.process()
    first.close()
    second = home.again()
    ended: list[str] = []
    second.on_exit(ended.append)
    assert second.report(TASK).alive
    os.kill(process.pid, signal.SIGKILL)
    await until(lambda: ended)
    assert not second.report(TASK).alive


async def test_it_is_asked_once_to_end(home: Home) -> None:
    drivers = await home.started()
    await drivers.end(TASK)
    await drivers.end(TASK)
    await until(lambda: not drivers.report(TASK).alive)
    assert (home.folder / "checkpoint").exists()
    await drivers.end(TASK)
    await drivers.remove(TASK)
    assert drivers.known() == []
    assert not list((home.logs / "batch").iterdir())


async def test_one_that_does_not_listen_is_killed(home: Home) -> None:
    drivers = home.again()
    await drivers.prepare(SPEC)
    (home.folder / "deaf").touch()
    await drivers.start(TASK)
    await until((home.folder / "up").exists)
    await drivers.end(TASK)
    assert drivers.report(TASK).alive
    await drivers.end(TASK, at_once=True)
    await until(lambda: not drivers.report(TASK).alive)


async def test_taking_the_platform_down_ends_all_drivers(home: Home) -> None:
    await home.started()
    process = home.process()
    assert await end_all(home.runs, 10.0) == 1
    assert not alive(process)
    assert (home.folder / "checkpoint").exists()
    assert await end_all(home.runs, 10.0) == 0
    assert await end_all(home.runs / "nowhere", 10.0) == 0


LAUNCHER = """
import asyncio, os, sys
from pathlib import Path
from modelyard.batch.supervision import LocalDrivers
runs, logs, script, task = sys.argv[1:]
drivers = LocalDrivers(Path(runs), Path(logs), command=(sys.executable, script))
asyncio.run(drivers.start(task))
"""


@pytest.mark.parametrize(("step", "runs"), [("run.record", False), ("run.start", True)])
async def test_no_driver_runs_that_nobody_knows(home: Home, step: str, runs: bool) -> None:
    await home.again().prepare(SPEC)
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHER, str(home.runs), str(home.logs), str(home.script), TASK],
        env={**os.environ, "MODELYARD_CRASH": f"after:{step}"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    record = json.loads((home.folder / RECORD_FILE).read_bytes())
    process = ProcessIdentity(record["pid"], record["start_ticks"])
    drivers = home.again()
    if runs:
        await until((home.folder / "up").exists)
        assert drivers.report(TASK).alive
    else:
        await until(lambda: not alive(process))
        assert not (home.folder / "up").exists()
    await drivers.start(TASK)
    await until((home.folder / "up").exists)
    assert (home.process() == process) is runs
