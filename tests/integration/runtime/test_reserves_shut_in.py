"""A zygote of foreign code, and the workers that it forks: shut in as all else of instances is."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from instance_support import ask_instance, wait_for, write_package
from modelyard.processes import ProcessIdentity
from modelyard.runtime.limits import groups
from modelyard.runtime.limits.instance_limits import InForce, take_away
from modelyard_instance.sandbox.confine import read_confinement
from reserve_yard import TELLTALE, Yard, install

LOOK = """
answer = {
    "mounts": sorted(line.split()[4] for line in open("/proc/self/mountinfo")),
    "home": {name: sorted(os.listdir(name)) for name in (ROOT, ROOT + "/packages", "/home")},
    "tmp": sorted(os.listdir("/tmp")), "score": open("/proc/self/oom_score_adj").read(),
    "out": open("/dev/stdout", "w").name,
}
"""
# What foreign code might try while it is imported.
NOSY = """
import os
def tried(what):
    try:
        what()
        return "it can"
    except OSError as error:
        return type(error).__name__
with open("told", "w") as file:
    for what in (
        lambda: os.setuid(0),
        lambda: open("/proc/1/environ").read(),
        lambda: open("ROOT/secret").read(),
        lambda: os.listdir("ROOT/packages"),
    ):
        print(tried(what), file=file)
"""


@dataclass
class ShutIn:
    """A yard whose instances are held by ``found``."""

    yard: Yard
    found: InForce


@pytest.fixture
async def shut() -> AsyncIterator[ShutIn]:
    """Skips, loudly, where the machine does not allow it."""
    if os.geteuid() != 0:
        pytest.skip("NOT ROOT: no users of instances' own, no zygotes without rights")
    yard = Yard()
    held = yard.limits()
    found = held.find()
    if found.users and held.lends():
        yard.open(held)
        yield ShutIn(yard, found)
    await yard.end()
    take_away(yard.run)
    if not (found.users and held.lends()):
        pytest.skip(f"NO ZYGOTES WITHOUT RIGHTS HERE: {found.sentence()} {found.warnings}")


async def test_a_fork_is_shut_in_as_a_plain_start_is(shut: ShutIn) -> None:
    yard = shut.yard
    look = LOOK.replace("ROOT", repr(str(yard.root)))
    cold = ask_instance(await yard.ready(yard.spec("cold")), do=look).json()
    await yard.reserve()
    report = await yard.ready(yard.spec("a"))
    seen = ask_instance(report, do=look).json()
    assert (cold["forked"], seen["forked"]) == (False, True)
    users, others = ({*_ids(one, "Uid"), *_ids(one, "Gid")} for one in (seen, cold))
    assert len(users) == len(others) == 1
    assert users.isdisjoint(others)
    # Of a user namespace, not of the machine.
    assert seen["status"].pop("CapBnd") == ["0" * 16] != cold["status"].pop("CapBnd")
    # Nor may it enter the namespaces of others.
    for name in ("Seccomp", "Seccomp_filters"):
        assert seen["status"].pop(name) != cold["status"].pop(name)
    for name in ("status", "limits", "tasks"):
        assert seen[name] == cold[name], name
    plan = read_confinement(yard.instances / yard.spec("a").instance_id)
    assert plan is not None
    assert users == {plan.uid}
    for name in ("home", "tmp", "score", "out"):
        assert _anon(seen["answer"][name]) == _anon(cold["answer"][name]), name
    assert len(plan.groups) == len(shut.found.parents)
    for group in plan.groups:
        assert {seen["pid"], seen["parent"], report.pid} == set(groups.pids_in(Path(group)))


async def test_what_is_foreign_has_no_rights(shut: ShutIn) -> None:
    yard = shut.yard
    (yard.root / "secret").write_text("x")
    install(yard.python, "nosy", NOSY.replace("ROOT", str(yard.root)))
    await yard.ready(yard.spec("cold"))
    _has_no_rights(await yard.reserve(), yard)
    (told,) = (yard.run / "reserves").glob("*/work/told")
    assert told.read_text().splitlines() == ["PermissionError"] * 2 + ["FileNotFoundError"] * 2


async def test_each_worker_of_an_instance_is_forked_and_has_a_folder_of_its_own(
    shut: ShutIn,
) -> None:
    yard = shut.yard
    package = yard.root / "packages" / "several"
    write_package(package, TELLTALE, {"model_type": "MindSpore", "workers": 2})
    await yard.ready(yard.spec("cold"))
    await yard.reserve()
    two = await yard.ready(yard.spec("b", package_dir=str(package), cpu=2.0))
    url = f"http://127.0.0.1:{two.port}/health"
    wait_for(lambda: httpx.get(url, trust_env=False).json()["workers"] == 2, "both workers")
    answers = [
        asyncio.to_thread(ask_instance, two, do="import time; time.sleep(0.2)") for _ in range(2)
    ]
    both = [one.json() for one in await asyncio.gather(*answers)]
    folder = yard.instances / yard.spec("b").instance_id
    assert {one["cwd"] for one in both} == {str(folder / "work"), str(folder / "work-1")}
    assert all(one["forked"] for one in both)


def _ids(seen: dict[str, Any], name: str) -> set[int]:
    return {int(one) for one in seen["status"].pop(name)}


def _anon(told: Any) -> Any:
    """Without what is each instance's own."""
    return json.loads(json.dumps(told).replace("cold-", "x-").replace("a-", "x-"))


def _has_no_rights(reserve: ProcessIdentity, yard: Yard) -> None:
    status = Path(f"/proc/{reserve.pid}/status").read_text()
    lines = dict(line.split(":", 1) for line in status.splitlines())
    assert lines["CapEff"].split() == ["0000000000000000"]
    assert lines["NoNewPrivs"].split() == ["1"]
    assert lines["Seccomp"].split() == ["2"]
    assert set(lines["Uid"].split()).isdisjoint({"0"})
    mounts = Path(f"/proc/{reserve.pid}/mountinfo").read_text()
    inside = [line.split()[4] for line in mounts.splitlines() if str(yard.root) in line.split()[4]]
    assert not [one for one in inside if "packages/telltale" in one or "instances" in one]
