"""Waiting for an object store that does not answer: it may come back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from modelyard.errors import Unavailable

LONGEST_S = 1800.0
_LONGEST_PAUSE_S = 30.0

T = TypeVar("T")


async def patiently(
    call: Callable[[], Awaitable[T]], told: Callable[[str], None] = lambda _: None
) -> T:
    """What ``call`` gives, again and again while the store is away.

    ``told`` hears why there is a wait, and "" when it is over. Raises ``Unavailable`` after half an
    hour, and at once what no waiting helps against.
    """
    loop = asyncio.get_running_loop()
    deadline: float | None = None
    pause = 0.1
    while True:
        try:
            found = await call()
        except Unavailable as error:
            now = loop.time()
            deadline = deadline or now + LONGEST_S
            # 1003: the platform lacks credentials.
            if error.code == "1003" or now > deadline:
                raise
            told(error.message)
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE_S, 2 * pause)
        else:
            if pause > 0.1:
                told("")
            return found
