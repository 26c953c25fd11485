"""One file, one request: the answer's body is its result (inference.md §2.3)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from modelyard.batch.dispatch.payload import fault_of, file_form, is_form
from modelyard.batch.dispatch.work import Work
from modelyard.batch.driver.journal import File
from modelyard.batch.driver.workplace import FileFailed, Workplace


class FileRun:
    """The work on one file."""

    def __init__(self, place: Workplace, file: File) -> None:
        self._place = place
        self._file = file
        self._answer: asyncio.Future[tuple[int, bytes]] = asyncio.Future()

    async def run(self) -> None:
        """Do it. Raises ``Undeliverable``, ``Unavailable``, ``OSError``."""
        place = self._place
        try:
            if self._file.fault:
                raise FileFailed(self._file.fault)
            answer = await self._compute()
            await place.deliver(self._file, answer)
        except FileFailed as error:
            self._file = replace(self._file, error=str(error))
        place.tally.bytes_done += self._file.size or 0
        await place.close_file(self._file)

    async def checkpoint(self) -> None:
        """There is nothing between not begun and delivered."""

    def done(self, work: Work, status: int, body: bytes) -> None:
        if not self._answer.done():
            self._answer.set_result((status, body))

    async def _compute(self) -> bytes:
        place = self._place
        self._file = await place.look(self._file)
        size, limit = self._file.size or 0, place.spec.file_limit
        if size > limit:
            raise FileFailed(f"The file has {size} bytes, more than the {limit} that are allowed.")
        await place.dispatcher.room(size)
        try:
            work = await self._request(size)
        finally:
            place.dispatcher.keep(-size)
        place.dispatcher.put([work])
        del work
        status, body = await self._answer
        if 200 <= status < 300:
            return body
        if status == 0:
            raise FileFailed(body.decode())
        raise FileFailed(fault_of(status, body)[1])

    async def _request(self, size: int) -> Work:
        place, path, mark = self._place, self._file.path, self._file.mark
        content = await place.read(lambda: place.objects.part(path, 0, size, mark))
        kind = place.spec.content_type
        if is_form(kind):
            name = path.key.rpartition("/")[2]
            kind, content = file_form(place.spec.field, name, content)
        return Work(self, kind, content)
