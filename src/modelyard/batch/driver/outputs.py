"""What a run writes at its end: the output manifests and the quarantine (inference.md §2.6)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import BinaryIO

from modelyard.batch.driver.inputs import destination_of
from modelyard.batch.driver.journal import File
from modelyard.batch.driver.workplace import Undeliverable, Workplace
from modelyard.batch.formats import manifest, quarantine
from modelyard.batch.formats.result_names import manifest_name, quarantine_name
from modelyard.batch.spec import SPOOL_FOLDER
from modelyard.errors import InvalidRequest
from modelyard.steps import Step, reached

_PAGE = 1000
_COPIED = 1 << 20


async def write_manifests(place: Workplace) -> list[str]:
    """Write what became of each input, in their order; returns the objects. ``Undeliverable``."""
    most = place.spec.manifest_lines
    total = (await place.desk.call(place.desk.journal.totals)).files
    written: list[str] = []
    for number in range(max(1, -(-total // most))):
        path = place.folder / SPOOL_FOLDER / "manifest"
        with path.open("wb") as out:
            await _fill_manifest(place, out, number * most, most)
        name = manifest_name(place.spec.task_id, number + 1 if total > most else 0)
        written.append(await _put(place, name, path))
        reached(Step.BATCH_MANIFEST)
    return written


async def _fill_manifest(place: Workplace, out: BinaryIO, after: int, most: int) -> None:
    end = after + most
    while page := await place.desk.call(place.desk.journal.files, after, min(_PAGE, end - after)):
        out.write(b"".join([_manifest_line(place, file) for file in page]))
        after = page[-1].n
        if after >= end:
            return


def _manifest_line(place: Workplace, file: File) -> bytes:
    if file.error:
        return manifest.failed(file.source, file.error)
    return manifest.successful(file.source, str(place.result_path(file)))


async def write_quarantine(place: Workplace) -> str:
    """Write everything that failed, in the input's order; "" where nothing has. Returns the object.

    Raises ``Undeliverable``.
    """
    path = place.folder / SPOOL_FOLDER / "quarantine"
    with path.open("wb") as out:
        async for file in _troubled(place):
            if file.quarantine:
                await asyncio.to_thread(_copy, place.spool_path(file.n, "bad"), out)
            else:
                out.write(quarantine.file_line(file.source, file.error))
        size = out.tell()
    if not size:
        path.unlink()
        return ""
    written = await _put(place, quarantine_name(place.spec.task_id), path)
    reached(Step.BATCH_QUARANTINE)
    return written


async def _troubled(place: Workplace) -> AsyncIterator[File]:
    after = 0
    while page := await place.desk.call(place.desk.journal.troubled, after, _PAGE):
        for file in page:
            yield file
        after = page[-1].n


def _copy(path: Path, out: BinaryIO) -> None:
    with path.open("rb") as file:
        while piece := file.read(_COPIED):
            out.write(piece)


async def _put(place: Workplace, name: str, content: Path) -> str:
    path = destination_of(place.spec).child(name)
    put: Callable[[], Awaitable[None]] = lambda: place.objects.put(path, content, durable=True)  # noqa: E731
    try:
        await place.retried(put)
    except InvalidRequest as error:
        raise Undeliverable(error) from error
    await asyncio.to_thread(content.unlink)
    return str(path)
