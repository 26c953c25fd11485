"""Retries of calls to an object store that does not answer: it may come back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from modelyard.errors import Unavailable
from modelyard_instance.backoff import delay

LONGEST_S = 1800.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 30.0
_NO_CREDENTIALS = "1003"

T = TypeVar("T")


async def retry_while_unavailable(
    call: Callable[[], Awaitable[T]], report: Callable[[str], None] = lambda _: None
) -> T:
    """Return the result of ``call``, called again while the store is unavailable.

    ``report`` is called with the reason of each wait, and with "" when the store is back. Raises
    ``Unavailable`` after half an hour, and at once where the platform has no credentials; every
    other error is raised as it comes.
    """
    loop = asyncio.get_running_loop()
    deadline: float | None = None
    failures = 0
    while True:
        try:
            found = await call()
        except Unavailable as error:
            now = loop.time()
            deadline = deadline or now + LONGEST_S
            if error.code == _NO_CREDENTIALS or now > deadline:
                raise
            report(error.message)
            failures += 1
            await asyncio.sleep(delay(failures, _FIRST_PAUSE_S, _LONGEST_PAUSE_S, random.random()))  # noqa: S311
        else:
            if failures:
                report("")
            return found
