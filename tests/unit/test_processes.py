"""Knowing a process again (a pid alone may be somebody else's)."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from modelyard import processes


def spawn(folder: Path) -> processes.ProcessIdentity:
    return processes.spawn_detached(
        [sys.executable, "-c", "import signal; signal.pause()"],
        env=dict(os.environ),
        cwd=folder,
        log=folder / "log",
    )


async def test_known_by_pid_and_start_time(tmp_path: Path) -> None:
    process = spawn(tmp_path)
    try:
        assert processes.alive(process)
        stranger = replace(process, start_ticks=process.start_ticks + 1)
        assert not processes.alive(stranger)
        assert not processes.send(stranger, signal.SIGKILL)
        assert processes.alive(process)
        record = tmp_path / "record.json"
        processes.write_record(record, process)
        assert processes.read_record(record) == process
        assert record.stat().st_mode & 0o777 == 0o600
    finally:
        processes.kill_group(process)
    assert await processes.wait_gone(process, 10)
    assert processes.read_record(record) is None
    processes.reap(process.pid)


async def test_an_end_is_told_at_once_and_leaves_no_zombie(tmp_path: Path) -> None:
    process = spawn(tmp_path)
    ended = asyncio.Event()
    processes.watch_exit(process, ended.set)
    processes.kill_group(process)
    await asyncio.wait_for(ended.wait(), 10)
    assert not Path(f"/proc/{process.pid}").exists()


async def test_watching_one_that_is_gone_tells_at_once(tmp_path: Path) -> None:
    process = spawn(tmp_path)
    processes.kill_group(process)
    assert await processes.wait_gone(process, 10)
    ended = asyncio.Event()
    processes.watch_exit(process, ended.set)
    await asyncio.wait_for(ended.wait(), 10)
    processes.reap(process.pid)
