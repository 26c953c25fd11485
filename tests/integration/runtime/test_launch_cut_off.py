"""Instances whose launch was cut off by the control plane's death, as the next one finds them."""

from __future__ import annotations

from pathlib import Path

from modelyard.domain.rollout.instance import InstanceSpec, Phase
from modelyard.processes import ProcessIdentity
from modelyard.runtime import folders
from modelyard.runtime.local.local_runtime import LocalRuntime

ID = "11111111-0000-4000-8000-000000000001"
SPEC = InstanceSpec(
    instance_id=ID,
    service_id="22222222-0000-4000-8000-000000000002",
    project_id="p" * 32,
    model_id="33333333-0000-4000-8000-000000000003",
    model_name="m",
    model_version="1.0.0",
    model_type="Custom",
    package_dir="",
    envs={},
    cpu=1.0,
    memory_mb=512,
    request_timeout_s=1.0,
    body_limit=1,
    drain_grace_s=1.0,
)


def cut_off(tmp_path: Path) -> tuple[LocalRuntime, folders.InstanceFolder]:
    folder = folders.create(tmp_path / "instances", tmp_path / "one.log", SPEC)
    return LocalRuntime(tmp_path / "instances", tmp_path / "logs"), folder


async def test_a_folder_without_a_process_is_no_failed_start(tmp_path: Path) -> None:
    runtime, folder = cut_off(tmp_path)
    assert await runtime.probe(ID) is None
    assert [report.instance_id for report in await runtime.list()] == [ID]
    await runtime.stop(ID)
    assert not folder.path.exists()


async def test_a_recorded_process_that_is_gone_is_one(tmp_path: Path) -> None:
    runtime, folder = cut_off(tmp_path)
    folder.record(ProcessIdentity(pid=2**22 + 1, start_ticks=1))
    report = await runtime.probe(ID)
    assert report is not None
    assert report.phase is Phase.GONE


async def test_a_folder_that_never_got_its_name_is_removed(tmp_path: Path) -> None:
    unfinished = tmp_path / "instances" / f".{ID}.new"
    unfinished.mkdir(parents=True)
    runtime = LocalRuntime(tmp_path / "instances", tmp_path / "logs")
    assert await runtime.list() == []
    assert not unfinished.exists()
