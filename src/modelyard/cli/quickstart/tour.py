"""The steps of the tour, each showing the requests it makes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from modelyard.cli.commands.models import config_type
from modelyard.cli.commands.object_transfer import upload_package
from modelyard.cli.commands.predict import VERSION_HEADER
from modelyard.cli.quickstart.examples import copy_examples, train
from modelyard.cli.terminal.output import progress
from modelyard.cli.terminal.waits import (
    Wait,
    wait_for_end,
    wait_for_model,
    wait_for_service,
    wait_for_update,
)
from modelyard.client.api_client import Client, Exchange
from modelyard.client.documents import Document
from modelyard.client.failures import ApiFailure, ClientError
from modelyard.client.names import DEFAULT_FLAVOR

MADE_BY = "Made by modelyard quickstart"
"""The description by which a later tour knows what it may replace."""

IRIS_REQUEST: dict[str, object] = {
    "data": {
        "req_data": [
            {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
        ]
    }
}
_PREDICTIONS = 300
_WAIT_S = 120.0
_SHORT = 100


class Tour:
    """One walk through the API as one user. ``work``: a private folder for trainings."""

    def __init__(
        self, client: Client, *, name: str, home: Path | None, work: Path, console: Console
    ) -> None:
        self.client = client
        self.name = name
        self.home = home
        self.work = work
        self.console = console
        self.summary: dict[str, object] = {}

    def run(self, *, with_digits: bool, keep: bool) -> dict[str, object]:
        """All steps. Returns what was made and measured; raises ``ClientError``."""
        self._step("A token for all that follows (header X-Auth-Token)")
        self.client.token()
        self._line("POST /v3/auth/tokens", "201 (in header X-Subject-Token)")
        self._say(f"project_id: {self.client.project_id}")
        self.client.watch = self._show
        self._remove_leftovers()
        names = ["iris-1", "iris-2", *(["digits"] if with_digits else [])]
        folders = self._train(names)
        iris = [
            self._import(folder, "iris", version)
            for folder, version in zip(folders[:2], ("0.0.1", "0.0.2"), strict=True)
        ]
        service_id, address = self._deploy("iris", iris[0])
        self._step("Predict")
        self.client.predict(address, body=IRIS_REQUEST)
        split = self._shift(service_id, address, iris, (70, 30))
        shifted = self._shift(service_id, address, iris, (0, 100))
        made = [service_id]
        if with_digits:
            made.append(self._digits(folders[2]))
        self._stop_and_start(service_id, address)
        self.summary.update(services=made, models=iris, split=split, shifted=shifted, kept=keep)
        if not keep:
            self._step("Clean up")
            self._remove(made)
        return self.summary

    # What is shown -------------------------------------------------------------------------

    def _step(self, title: str) -> None:
        self.console.print(Text.assemble("\n", ("▸ ", "cyan"), (title, "bold")))

    def _line(self, request: str, answer: str) -> None:
        self.console.print(Text.assemble("  ", request, ("  →  ", "dim"), (answer, "green")))

    def _say(self, sentence: str) -> None:
        self.console.print(Text(f"  {sentence}"))

    def _show(self, exchange: Exchange) -> None:
        body = "" if exchange.body is None else f" {_short(exchange.body)}"
        path = exchange.path.replace(self.client.project_id, "{project_id}")
        self._line(
            f"{exchange.method} {path}{body}",
            f"{exchange.status} {_short(exchange.answer)}",
        )

    @contextmanager
    def _waiting(self, sentence: str) -> Iterator[Wait]:
        """A wait whose polls are not shown as requests, but its events are as progress."""
        self.client.watch = None
        try:
            with progress(sentence) as shown:
                yield Wait(shown.update, _WAIT_S)
        finally:
            self.client.watch = self._show

    # The steps -----------------------------------------------------------------------------

    def _train(self, names: list[str]) -> list[Path]:
        self._step(f"Train {', '.join(names)}")
        folders = copy_examples(names, self.work)
        with progress("training"):
            train(folders)
        self._say(f"python train.py, in copies of examples/{{{','.join(names)}}}")
        return folders

    def _import(self, folder: Path, kind: str, version: str) -> str:
        name = f"{self.name}-{kind}"
        self._step(f"Import {name}:{version}")
        location = upload_package(self.home, self.client.project_id, folder, name, version)
        self._say(f"upload model/ to {location.replace(self.client.project_id, '{project_id}')}")
        body = {
            "model_name": name,
            "model_version": version,
            "model_type": config_type(folder),
            "source_location": location,
            "description": MADE_BY,
        }
        model_id = self.client.project("POST", "/models", body).text("model_id")
        with self._waiting(f"importing {name}:{version}") as wait:
            wait_for_model(self.client, model_id, wait)
        self._say("published")
        return model_id

    def _deploy(self, kind: str, model_id: str) -> tuple[str, str]:
        name = f"{self.name}-{kind}"
        self._step(f"Deploy {name}")
        body: dict[str, object] = {
            "service_name": name,
            "infer_type": "real-time",
            "description": MADE_BY,
            "config": [_entry(model_id, 100)],
        }
        service_id = self.client.project("POST", "/services", body).text("service_id")
        with self._waiting(f"deploying {name}") as wait:
            service = wait_for_service(self.client, service_id, "running", wait)
        self._say(f"running at {service.text('access_address')}")
        return service_id, service.text("access_address")

    def _shift(
        self, service_id: str, address: str, models: list[str], weights: tuple[int, int]
    ) -> dict[str, int]:
        """Update the weights of the live service and measure the split."""
        self._step(f"Update the live service to {weights[0]}/{weights[1]}")
        config = [
            _entry(model_id, weight) for model_id, weight in zip(models, weights, strict=True)
        ]
        answer = self.client.project("PUT", f"/services/{service_id}", {"config": config})
        with self._waiting("updating") as wait:
            wait_for_update(self.client, service_id, answer.text("update_time"), wait)
        with self._waiting(f"measuring over {_PREDICTIONS} predictions"):
            found = Counter(self._version_of_answer(address) for _ in range(_PREDICTIONS))
        split = dict(sorted(found.items()))
        told = ", ".join(
            f"{version}: {count} ({100 * count / _PREDICTIONS:.1f} %)"
            for version, count in split.items()
        )
        self._say(f"{_PREDICTIONS} predictions, answered by {told}")
        return split

    def _version_of_answer(self, address: str) -> str:
        answer = self.client.predict(address, body=IRIS_REQUEST)
        rows = Document(answer.answer).part("data").parts("resp_data")
        said = rows[0].text("model_version") if rows else ""
        return said or answer.headers.get(VERSION_HEADER, "unknown")

    def _digits(self, folder: Path) -> str:
        model_id = self._import(folder, "digits", "0.0.1")
        service_id, address = self._deploy("digits", model_id)
        image = next(iter(sorted(folder.rglob("*.png"))), None)
        if image is None:
            raise ClientError(f"The training of {folder.name} left no sample image.")
        self._step(f"Predict: upload {image.name} as `images`")
        self.client.predict(address, files=[("images", (image.name, image.read_bytes()))])
        return service_id

    def _stop_and_start(self, service_id: str, address: str) -> None:
        for title, status in (("Stop", "stopped"), ("Start", "running")):
            self._step(title)
            self.client.project("PUT", f"/services/{service_id}", {"status": status})
            with self._waiting(title.lower()) as wait:
                wait_for_service(self.client, service_id, status, wait)
            self._say(status)
        self._step("Predict again")
        self.client.predict(address, body=IRIS_REQUEST)

    # Leaving and replacing -----------------------------------------------------------------

    def _remove_leftovers(self) -> None:
        """What an earlier tour of the same name left; anything else of that name is refused."""
        found = []
        self.client.watch = None
        names = {f"{self.name}-iris", f"{self.name}-digits"}
        for service in self.client.pages("/services", "services", {"service_name": self.name}):
            if service.text("service_name") in names:
                self._refuse_foreign(service, service.text("service_name"))
                found.append(service.text("service_id"))
        models = self._models()
        for model in models:
            self._refuse_foreign(model, model.text("model_name"))
        self.client.watch = self._show
        if found or models:
            self._step("Remove what an earlier tour left")
            self._remove(found)

    def _models(self) -> list[Document]:
        names = {f"{self.name}-iris", f"{self.name}-digits"}
        models = self.client.pages("/models", "models", {"model_name": self.name})
        return [model for model in models if model.text("model_name") in names]

    def _refuse_foreign(self, thing: Document, name: str) -> None:
        if thing.text("description") != MADE_BY:
            raise ClientError(
                f"{name!r} exists already and was not made by this tour.",
                "Choose another prefix with `modelyard quickstart --name OTHER`.",
            )

    def _remove(self, services: list[str]) -> None:
        if services:
            self.client.project("DELETE", f"/services/{','.join(services)}")
        with self._waiting("waiting for the services to end") as wait:
            for service_id in services:
                wait_for_end(self.client, service_id, wait)
        self.client.watch = None
        models = [model.text("model_id") for model in self._models()]
        self.client.watch = self._show
        for model_id in models:
            answer = self.client.project("DELETE", f"/models/{model_id}")
            for failed in answer.parts("delete_failed_list"):
                raise ApiFailure(200, failed.text("error_code"), failed.text("error_msg"))


def _entry(model_id: str, weight: int) -> dict[str, object]:
    return {
        "model_id": model_id,
        "weight": weight,
        "specification": DEFAULT_FLAVOR,
        "instance_count": 1,
    }


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"
