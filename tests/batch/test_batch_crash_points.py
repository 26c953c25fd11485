"""SIGKILL to the driver right after each step that it persists; to everything, at random (R12).

Whatever dies and whenever: the output is byte for byte that of an undisturbed run.
``MODELYARD_BATCH_KILLS`` says how many random kills; ``MODELYARD_BATCH_SEED`` which.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_support import DOUBLE, FILES, SIZES, Folder, Run, Store, batch, rows, wait_for

from instance_support import Instance, launch, running, write_package
from modelyard.runtime.local.sweep import marked
from modelyard.steps import Step

KILLS = int(os.environ.get("MODELYARD_BATCH_KILLS", "8"))
SEED = int(os.environ.get("MODELYARD_BATCH_SEED", "20"))
STEPS = [step for step in Step if step.startswith("batch.")]
LARGE = "x" * 4000


def fill(store: Store, count: int) -> None:
    """CSV files of every kind, one of which is uploaded in parts; some rows fail."""
    store.put("inbox", "in/a.csv", rows(0, count // 2) + b"1,bad\nx,y\n" + rows(0, count // 2))
    store.put("inbox", "in/large.csv", rows(0, count // 2, LARGE))
    store.put("inbox", "in/none.csv", b"1,bad\n")
    store.put("inbox", "in/quoted.csv", b'\xef\xbb\xbf1,"a\n\n""b"\r\n' * (count // 4))
    for n in range(5):
        store.put("inbox", f"in/sub/{n}.csv", rows(n, 3))


def fill_files(store: Store) -> None:
    for n in range(60):
        store.put("inbox", f"in/{n % 7}/{n:03}.png", b"bad" if n % 20 == 7 else b"x" * n)


def undisturbed(tmp_path: Path, store: Store, instance: Instance, **more: Any) -> dict[str, bytes]:
    """The output of a run that nothing happens to, in a store of its own."""
    own = Folder(tmp_path / "calm")
    for key, content in store.everything("inbox").items():
        own.put("inbox", key, content)
    with batch(tmp_path / "calm-home", own, **more) as run:
        assert run.whole(instance).outcome == "finished"
    return own.everything("outbox")


_CALM: dict[str, dict[str, bytes]] = {}


def _calm(kind: str, *of: Any, **more: Any) -> dict[str, bytes]:
    """The undisturbed output of each kind, computed once: it does not depend on the store."""
    if kind not in _CALM:
        _CALM[kind] = undisturbed(*of, **more)
    return _CALM[kind]


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        *(("csv", step) for step in STEPS),
        # The answer to a file is delivered as it is, without a spool.
        *(("file", s) for s in STEPS if s not in (Step.BATCH_SPOOL, Step.BATCH_CHECKPOINT)),
    ],
)
def test_it_dies_after_each_step(
    tmp_path: Path, store: Store, doubler: Instance, sizer: Instance, step: Step, kind: str
) -> None:
    if kind == "csv":
        fill(store, 200)
        more, instance = {"manifest_lines": 4}, doubler
    else:
        fill_files(store)
        more, instance = {**FILES, "manifest_lines": 40}, sizer
    calm = _calm(kind, tmp_path, store, instance, **more)
    for nth in (1, 2, 3):
        store.clear("outbox")
        with batch(tmp_path / f"home-{nth}", store, **more) as run:
            run.offer(instance)
            status = run.start(MODELYARD_CRASH=f"after:{step}:{nth}").wait(60)
            assert status in (0, -signal.SIGKILL), run.log()
            assert (status == 0) is (f"crash point {step}" not in run.log())
            if status:
                assert nth > 1 or run.result() is None or step == Step.BATCH_RESULT
                run.start()
                assert run.finish().outcome == "finished"
            assert nth > 1 or status != 0, "the step was never reached"
        assert store.everything("outbox") == calm
        if status == 0:
            break


class Storm:
    """A run of which anything may die at any time, and comes back."""

    def __init__(self, run: Run, instances: list[Instance], seed: int) -> None:
        self.run = run
        self.instances = instances
        self.random = random.Random(seed)
        self.kills = 0

    def driver(self) -> None:
        self.run.kill()
        self.run.start()

    def instance(self) -> None:
        """One of them, front and workers, in any order, as an operator's or the kernel's hand."""
        one = self.random.choice(self.instances)
        pids = list(marked(one.instance_id))
        self.random.shuffle(pids)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        one.process.wait(20)
        wait_for(lambda: not marked(one.instance_id), "the instance's end")
        (one.folder / "state.json").unlink(missing_ok=True)
        if self.random.random() < 0.5:
            self.run.offer(*self.instances)
        one.process = launch(one.folder)
        wait_for(lambda: one.state().get("phase") == "ready", "the instance")
        self.run.offer(*self.instances)

    def everything(self) -> None:
        self.run.kill()
        self.instance()
        self.run.start()

    def kill(self) -> None:
        """One kill, of something, some time from now; a resumed driver gets anywhere."""
        moment = time.monotonic() + self.random.choice((0.05, 0.4, 0.8, 1.2)) * self.random.random()
        wait_for(lambda: time.monotonic() >= moment or self.over, "the moment of the kill")
        if self.over:
            return
        self.random.choice((self.driver, self.driver, self.instance, self.everything))()
        self.kills += 1

    @property
    def over(self) -> bool:
        return self.run.result() is not None


@contextlib.contextmanager
def two_instances(tmp_path: Path, script: str) -> Iterator[list[Instance]]:
    package = write_package(tmp_path / "package", script)
    with (
        running(package, tmp_path / "instance-1") as first,
        running(package, tmp_path / "instance-2") as second,
    ):
        first.wait_phase("ready")
        second.wait_phase("ready")
        yield [first, second]


class Scene:
    """What is run: ``script`` of its instances, ``more`` of its spec, and what lies there before.

    ``prepare`` makes the output of a run that a retry needs, once; ``lay`` puts it into place.
    """

    def __init__(self, kind: str, tmp_path: Path, store: Store) -> None:
        self.kind = kind
        self.script = SIZES if kind == "file" else DOUBLE
        self.more: dict[str, Any] = FILES if kind == "file" else {}
        self._tmp_path = tmp_path
        self._before: dict[str, bytes] = {}
        if kind == "file":
            fill_files(store)
        else:
            fill(store, 6000)
        if kind == "retry":
            self.script = DOUBLE.replace('"bad"', '"never"')
            self.more = {"retry_of": "former"}

    def prepare(self, store: Store, instance: Instance) -> None:
        """Every third row of a file fails for now."""
        if self.kind != "retry":
            return
        mixed = b"".join(
            b"%d,bad\n" % n if n % 3 == 0 else b"%d,row %d\n" % (n, n) for n in range(6000)
        )
        store.put("inbox", "in/mixed.csv", mixed)
        with batch(self._tmp_path, store, task_id="former") as run:
            assert run.whole(instance).progress.rows_failed > 2000
        self._before = store.everything("outbox")

    def lay(self, home: Path, store: Store) -> None:
        """Nothing in the output but what belongs there."""
        store.clear("outbox")
        for key, content in self._before.items():
            store.put("outbox", key, content)
        if self._before:
            shutil.copytree(self._tmp_path / "batch" / "former", home / "batch" / "former")


@pytest.mark.timeout(120 + 6 * KILLS)
@pytest.mark.parametrize("kind", ["csv", "file", "retry"])
def test_everything_dies_at_random(
    tmp_path: Path, store: Store, doubler: Instance, kind: str
) -> None:
    chance = random.Random(f"{SEED} {kind} {store.root[:4]}")
    scene = Scene(kind, tmp_path, store)
    scene.prepare(store, doubler)
    with two_instances(tmp_path, scene.script) as instances:
        scene.lay(tmp_path / "calm", store)
        with batch(tmp_path / "calm", store, **scene.more) as run:
            assert run.whole(instances[0]).outcome == "finished"
        calm = store.everything("outbox")
        done = number = 0
        while done < KILLS:
            number += 1
            assert number <= 4 * KILLS + 4, "the runs are too short to be killed"
            home = tmp_path / f"home-{number}"
            scene.lay(home, store)
            with batch(home, store, **scene.more, attempts=5) as run:
                run.offer(*instances)
                run.start()
                storm = Storm(run, instances, chance.randrange(1 << 30))
                # A run goes through several, and then has to come to its end.
                while storm.kills < min(10, KILLS - done) and not storm.over:
                    storm.kill()
                assert run.finish().outcome == "finished"
                done += storm.kills
            assert store.everything("outbox") == calm, f"run {number}, seed {SEED}"
