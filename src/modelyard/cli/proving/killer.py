"""Kills the control plane of a home again and again, and starts it anew."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
from types import TracebackType
from typing import Self

from modelyard.cli.lifecycle.parts import find_parts
from modelyard.cli.lifecycle.start import bring_back
from modelyard.cli.lifecycle.wanted import read_wanted
from modelyard.client.failures import ClientError
from modelyard.processes import send, wait_gone
from modelyard.settings import Settings

LONGEST_S = 0.5
_END_LIMIT_S = 10.0
_START_LIMIT_S = 60.0


class Killer:
    """``kill -9`` 0 to 0.5 s after the control plane answers, while the ``with`` block lasts.

    Only the process that the home's record names is killed. At the end the control plane is up.
    """

    def __init__(self, settings: Settings, chance: random.Random) -> None:
        self.kills = 0
        self._settings = settings
        self._chance = chance
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="killer")

    def __enter__(self) -> Self:
        if read_wanted(self._settings) is None:
            raise ClientError(
                "The control plane was not started by `modelyard up`, so it would not come back.",
                "Start the platform with `modelyard up --detach`, or leave out --kill.",
            )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._chance.uniform(0, LONGEST_S)):
                self._kill_one()
        except BaseException as error:  # told to whoever ends the block
            self._error = error

    def _kill_one(self) -> None:
        process = find_parts(self._settings).control_plane
        if process is not None and send(process, signal.SIGKILL):
            self.kills += 1
            # One that is still ending would be taken for one that runs.
            asyncio.run(wait_gone(process, _END_LIMIT_S))
        if bring_back(self._settings, lambda _: None, _START_LIMIT_S) is None:
            raise ClientError("The platform was taken down meanwhile.")
