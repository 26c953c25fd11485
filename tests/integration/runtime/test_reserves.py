"""Workers forked in a package's own environment: by a process that has no rights over them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from instance_support import DEADLINE_S, ask_instance, wait_for
from modelyard import processes
from modelyard.runtime.limits.instance_limits import Limits
from modelyard.runtime.local import env_zygotes as reserves
from modelyard.runtime.local.env_zygotes import EnvZygotes
from modelyard.runtime.local.sweep import marked
from modelyard.runtime.local.zygotes import WarmStarts, end_all, zygotes
from reserve_yard import Yard, install, is_of, listening


@pytest.fixture
async def yard() -> AsyncIterator[Yard]:
    yard = Yard()
    yield yard
    await yard.end()


async def test_the_first_worker_starts_plainly_and_the_next_is_forked(yard: Yard) -> None:
    cold = ask_instance(await yard.ready(yard.spec("cold"))).json()
    reserve = await yard.reserve()
    specs = [yard.spec(name, envs={"SECRET": f"of {name}"}) for name in ("a", "b")]
    reports = [await yard.ready(spec) for spec in specs]
    seen = [ask_instance(report).json() for report in reports]
    assert not cold["forked"]
    for spec, report, one in zip(specs, reports, seen, strict=True):
        assert one["forked"]
        assert one["python"] == cold["python"] == str(yard.python)
        for name in ("tasks", "argv", "status", "limits"):
            assert one[name] == cold[name], name
        # Beside what the imports of the engine have set.
        known = {*cold["environment"], "SECRET"}
        assert {name for name in one["environment"] if not name.startswith("KMP_")} == known
        assert one["environment"]["SECRET"] == spec.envs["SECRET"]
        assert one["cwd"] == str(yard.instances / spec.instance_id / "work")
        assert one["group"] == one["pid"]
        kinds = sorted(target.partition(":")[0] for target in one["fds"].values())
        assert kinds == sorted(target.partition(":")[0] for target in cold["fds"].values())
        assert {one["pid"], one["parent"], report.pid} <= set(marked(spec.instance_id))
        assert reserve.pid not in marked(spec.instance_id)
    assert all(x != y for x, y in zip(seen[0]["random"], seen[1]["random"], strict=True))

    # Its end is nothing to those whom it has forked, and theirs nothing to each other.
    await end_all(yard.sockets)
    assert reports[0].pid is not None
    os.kill(reports[0].pid, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{seen[0]['pid']}").exists(), "the worker to die with it")
    assert ask_instance(reports[1]).json()["pid"] == seen[1]["pid"]
    await yard.runtime.stop(specs[1].instance_id)
    wait_for(lambda: marked(specs[1].instance_id) == [], "the end of all that was killed")


async def test_a_worker_that_dies_is_told_and_replaced_by_another_fork(yard: Yard) -> None:
    await yard.ready(yard.spec("cold"))
    await yard.reserve()
    report = await yard.ready(yard.spec("a", request_timeout_s=1.0))
    before = ask_instance(report).json()
    lost = ask_instance(report, die=True)
    assert lost.status_code == 500
    assert "SIGABRT" in lost.json()["error_msg"]
    report = await yard.ready(yard.spec("a"))
    after = ask_instance(report).json()
    assert after["forked"]
    assert after["pid"] != before["pid"]
    assert after["parent"] == before["parent"]
    assert ask_instance(report, loop=True).status_code == 504
    wait_for(lambda: not Path(f"/proc/{after['pid']}").exists(), "the end of the looping worker")

    # Without its nursery the front starts workers plainly.
    os.kill(before["parent"], signal.SIGKILL)
    async with asyncio.timeout(DEADLINE_S):
        while (answer := ask_instance(report)).status_code != 200 or answer.json()["forked"]:
            await asyncio.sleep(0.02)
    assert answer.json()["parent"] == report.pid


async def test_it_ends_with_its_environment_and_another_one_follows(yard: Yard) -> None:
    await yard.ready(yard.spec("cold"))
    first = await yard.reserve()
    os.kill(first.pid, signal.SIGKILL)
    wait_for(lambda: not processes.alive(first), "its end")
    again = WarmStarts(yard.sockets, yard.root / "logs")
    yard.runtime.close()
    yard.warm = again
    yard.open()
    assert not ask_instance(await yard.ready(yard.spec("a"))).json()["forked"]
    second = await yard.reserve()
    assert second != first
    assert ask_instance(await yard.ready(yard.spec("b"))).json()["forked"]
    # And a runtime that finds one does not start another.
    yard.warm = WarmStarts(yard.sockets, yard.root / "logs")
    yard.open()
    assert ask_instance(await yard.ready(yard.spec("c"))).json()["forked"]
    assert await yard.reserve() == second


async def test_an_import_that_does_not_end_keeps_no_instance_waiting(yard: Yard) -> None:
    install(yard.python, "stuck", "import time\nwhile True: time.sleep(1)")
    for name in ("a", "b"):
        assert not ask_instance(await yard.ready(yard.spec(name))).json()["forked"]
    assert str(yard.reserve_socket()) not in listening()
    (stuck,) = [one for one in zygotes(yard.sockets) if is_of(one, b"reserve")]
    reserves = EnvZygotes(yard.warm, yard.instances, None)
    reserves.tidy()
    assert processes.alive(stuck)
    (folder,) = (yard.run / "reserves").iterdir()
    os.utime(folder, (0, 0))
    reserves.tidy()
    wait_for(lambda: not processes.alive(stuck), "the end of what nobody has wanted for long")
    assert list((yard.run / "reserves").iterdir()) == []


async def test_nobody_is_taken_for_a_worker_on_the_word_of_what_was_imported(yard: Yard) -> None:
    """It says another pid than its child's, that of a process which is none of its business."""
    other = await asyncio.create_subprocess_exec("sleep", "600")
    lie = f"import os\nfork = os.fork\nos.fork = lambda: {other.pid} if fork() else 0"
    install(yard.python, "liar", lie)
    try:
        await yard.ready(yard.spec("cold"))
        await yard.reserve()
        report = await yard.ready(yard.spec("a", request_timeout_s=1.0))
        seen = ask_instance(report).json()
        assert seen["forked"]
        assert seen["pid"] != other.pid
        assert ask_instance(report, loop=True).status_code == 504
        wait_for(lambda: not Path(f"/proc/{seen['pid']}").exists(), "the end of the worker")
        assert other.returncode is None
    finally:
        other.kill()
        await other.wait()


async def test_variables_that_were_read_at_import_start_the_worker_plainly(yard: Yard) -> None:
    source = 'import os\nos.environ.get("READ_EARLY")\nos.environ["SET_EARLY"] = "1"'
    install(yard.python, "reader", source)
    await yard.ready(yard.spec("cold"))
    await yard.reserve()
    one = ask_instance(await yard.ready(yard.spec("a", envs={"OTHER": "1"}))).json()
    assert one["forked"]
    assert one["environment"]["SET_EARLY"] == one["environment"]["OTHER"] == "1"
    two = ask_instance(await yard.ready(yard.spec("b", envs={"READ_EARLY": "1"}))).json()
    assert not two["forked"]
    assert two["environment"]["READ_EARLY"] == "1"


class NotLent(Limits):
    def lends(self) -> bool:
        return False


async def test_there_is_one_for_each_project_and_engine_and_no_more_than_there_may_be(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = EnvZygotes(yard.warm, yard.instances, None)
    monkeypatch.setattr(reserves, "MOST", 3)
    python = str(yard.python)
    paths = [
        made.lend(python, engine, project)
        for engine, project in (
            ("Scikit_Learn", "one"),
            ("Scikit_Learn", "two"),
            ("MindSpore", "one"),
            ("scikit_learn", "one"),
            ("Image", "one"),
        )
    ]
    assert paths[3] == paths[0]
    assert len(set(paths)) == 4
    assert len(zygotes(yard.sockets)) == 3
    assert not any(is_of(one, os.fsencode(str(paths[4]))) for one in zygotes(yard.sockets))


async def test_where_it_may_not_be_there_is_none(yard: Yard) -> None:
    held = NotLent(node="00000000", home=yard.root, instances_dir=yard.instances, run_dir=yard.run)
    made = EnvZygotes(yard.warm, yard.instances, held)
    assert made.lend(str(yard.python), "Scikit_Learn", "one") is None
    assert zygotes(yard.sockets) == []
