"""The run: a service of its own, a storm of updates under load, and everything removed again."""

from __future__ import annotations

import contextlib
import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from modelyard.cli.commands.object_transfer import upload_package
from modelyard.cli.proving.account import (
    Account,
    RequestedUpdates,
    result_of,
    results_of,
    sum_reports,
)
from modelyard.cli.proving.killer import Killer
from modelyard.cli.proving.load import Counts, Load
from modelyard.cli.proving.package import BODY, MODEL_TYPE, write_package
from modelyard.cli.proving.patience import patiently
from modelyard.cli.proving.updates import Means, TargetConfig, Version, next_update
from modelyard.cli.terminal.waits import Wait, wait_for_end, wait_for_model, wait_for_service
from modelyard.client.api_client import Client
from modelyard.client.documents import Document
from modelyard.client.failures import ApiFailure, ClientError
from modelyard.settings import Settings

MADE_BY = "Made by modelyard prove"
VERSIONS = ("1.0.0", "2.0.0", "3.0.0")

_WAIT_S = 180.0
_POLL_S = 0.05
_LET_THROUGH = 0.4
_LONGEST_PAUSE_S = 0.3
_TELL_EVERY = 10
_REPORTS_WITHIN_S = 15.0
_NEW_TOKEN_S = 300.0
_QUIET_S = 1.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Terms:
    """``updates``: how many; ``seconds``: none is begun after that long, 0 is no limit.
    ``rate``: predictions a second. ``seed``: of the sequence of updates.
    """

    updates: int
    seconds: float
    rate: float
    kill: bool
    seed: int


@dataclass
class Trial:
    """One run as one user. ``work``: a private folder."""

    client: Client
    settings: Settings
    home: Path | None
    work: Path
    terms: Terms
    say: Say
    asked: RequestedUpdates = field(default_factory=RequestedUpdates)

    def __post_init__(self) -> None:
        self.name = f"prove-{secrets.token_hex(4)}"
        self._chance = random.Random(self.terms.seed)  # noqa: S311

    def run(self) -> Account:
        """Run the whole trial. Raises ``ClientError`` for failures other than lost predictions."""
        with self._models() as models, self._service(models[0]) as service_id:
            path = f"/services/{service_id}"
            means = Means(models, min(2, self.settings.capacity.max_instances_per_version))
            with self._load(service_id) as load:
                self._wait_for(lambda: load.counts.ok > 0, "The first prediction")
                wanted = self._storm(path, load, means)
                logs = self._reported_logs(path)
                time.sleep(_QUIET_S)
            return self._account(path, logs, load.counts, wanted)

    # -- what it works on ------------------------------------------------------------------------

    @contextmanager
    def _models(self) -> Iterator[list[str]]:
        self.say("importing three versions of a small model")
        folder = write_package(self.work / "package")
        made: list[str] = []
        try:
            for version in VERSIONS:
                body = {
                    "model_name": self.name,
                    "model_version": version,
                    "model_type": MODEL_TYPE,
                    "source_location": upload_package(
                        self.home, self.client.project_id, folder, self.name, version
                    ),
                    "description": MADE_BY,
                }
                made.append(self.client.project("POST", "/models", body).text("model_id"))
            for model_id in made:
                wait_for_model(self.client, model_id, self._wait)
            yield made
        finally:
            for model_id in made:
                self._remove(f"/models/{model_id}")

    @contextmanager
    def _service(self, model_id: str) -> Iterator[str]:
        self.say("deploying its service")
        body = {
            "service_name": self.name,
            "infer_type": "real-time",
            "description": MADE_BY,
            **TargetConfig((Version(model_id, 100),)).body(),
        }
        service_id = self.client.project("POST", "/services", body).text("service_id")
        try:
            wait_for_service(self.client, service_id, "running", self._wait)
            yield service_id
        finally:
            self.say("removing what was made")
            self._remove(f"/services/{service_id}")
            patiently(lambda: wait_for_end(self.client, service_id, self._wait))

    @property
    def _wait(self) -> Wait:
        return Wait(lambda _: None, _WAIT_S)

    def _remove(self, path: str) -> None:
        """Also what is still busy, or was removed by a call that got no answer."""

        def remove() -> bool:
            try:
                patiently(lambda: self.client.project("DELETE", path))
            except ApiFailure as failure:
                return failure.status == 404
            return True

        with contextlib.suppress(ClientError):
            self._wait_for(remove, f"The removal of {path}")

    @contextmanager
    def _load(self, service_id: str) -> Iterator[Load]:
        load = Load(
            f"{self.client.address}/v1/infers/{service_id}",
            BODY,
            self.client.token(renew=True),
            rate=self.terms.rate,
            timeout_s=self.settings.predictions.prediction_timeout + 10,
        )
        with load:
            yield load

    # -- the storm -------------------------------------------------------------------------------

    def _storm(self, path: str, load: Load, means: Means) -> TargetConfig:
        """Update after update; gives what was accepted last, when that is in force."""
        killing = Killer(self.settings, random.Random(self.terms.seed)) if self.terms.kill else None  # noqa: S311
        began = renewed = time.monotonic()
        wanted, update_time = TargetConfig((Version(means.models[0], 100),)), 0
        with killing or contextlib.nullcontext():
            for number in range(self.terms.updates):
                now = time.monotonic()
                if self.terms.seconds and now - began >= self.terms.seconds:
                    break
                if now - renewed >= _NEW_TOKEN_S:
                    renewed = now
                    load.token = patiently(lambda: self.client.token(renew=True))
                self._tell(number, load.counts)
                kind, next_wanted = next_update(self._chance, wanted, means)
                self.asked.kinds[kind] += 1
                accepted = self._put(path, next_wanted)
                if accepted:
                    wanted, update_time = next_wanted, accepted
                if self._chance.random() < _LET_THROUGH:
                    self._wait_over(path, update_time)
                else:
                    time.sleep(self._chance.uniform(0, _LONGEST_PAUSE_S))
        self.asked.seconds = time.monotonic() - began
        self.asked.kills = killing.kills if killing else 0
        self.say("waiting for the last update")
        self._wait_over(path, update_time)
        return wanted

    def _tell(self, number: int, counts: Counts) -> None:
        if number % _TELL_EVERY == 0:
            self.say(
                f"update {number + 1:,} of {self.terms.updates:,}; "
                f"{counts.ok:,} predictions answered, {counts.failed:,} failed"
            )

    def _put(self, path: str, wanted: TargetConfig) -> int:
        """The key of the update (ms); 0 when it was refused.

        One key for all attempts: what was accepted before the control plane died is not repeated.
        """
        key = {"Idempotency-Key": secrets.token_hex(16)}
        try:
            answer = patiently(lambda: self.client.project("PUT", path, wanted.body(), headers=key))
        except ApiFailure as failure:
            if failure.status != 400:
                raise
            self.asked.refused.append(str(failure))
            return 0
        self.asked.accepted += 1
        return answer.number("update_time")

    def _wait_over(self, path: str, update_time: int) -> None:
        query = {"update_time": update_time}

        def over() -> bool:
            found = patiently(lambda: self.client.project("GET", f"{path}/logs", query=query))
            return all(result_of(log) != "running" for log in found.parts("logs"))

        if update_time:
            self._wait_for(over, "An update")

    # -- what came of it -------------------------------------------------------------------------

    def _reported_logs(self, path: str) -> list[Document]:
        """All update logs, when those that get a report have theirs or it took too long."""
        self.say("waiting for the update reports")
        deadline = time.monotonic() + _REPORTS_WITHIN_S
        while True:
            logs = patiently(lambda: self.client.project("GET", f"{path}/logs")).parts("logs")
            if not sum_reports(logs).missing or time.monotonic() >= deadline:
                return logs
            time.sleep(10 * _POLL_S)

    def _account(
        self, path: str, logs: list[Document], counts: Counts, wanted: TargetConfig
    ) -> Account:
        shown = patiently(lambda: self.client.project("GET", path))
        results = results_of(logs)
        return Account(
            asked=self.asked,
            results=results,
            counts=counts,
            reported=sum_reports(logs),
            wrong=tuple(_wrong(self.asked, results.total(), shown, wanted)),
        )

    def _wait_for(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _WAIT_S
        while not condition():
            if time.monotonic() >= deadline:
                raise ClientError(f"{what} is not done after {_WAIT_S:.0f} s.")
            time.sleep(_POLL_S)


def _wrong(
    asked: RequestedUpdates, logged: int, shown: Document, wanted: TargetConfig
) -> Iterator[str]:
    """What contradicts what was accepted, in words."""
    if logged != asked.accepted:
        yield f"{asked.accepted} updates were accepted, but {logged} are logged"
    present = [
        (entry.text("model_id"), entry.number("weight"), entry.number("instance_count"))
        for entry in shown.parts("config")
    ]
    if present != [(v.model_id, v.weight, v.count) for v in wanted.versions]:
        yield "the service is not what was accepted last"
    if shown.text("status") != "running":
        yield f"the service is {shown.text('status')}"
