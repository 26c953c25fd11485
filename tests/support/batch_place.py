"""A model that doubles numbers, and batch services of it on a real platform."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from live import Json, events, get, path, until
from model_folders import write_package
from modelyard.processes import read_record
from stack import Stack

SCHEMA: Json = {"type": "object", "properties": {"n": {"type": "integer"}}}
RULE: Json = {"type": "object", "properties": {"n": {"type": "integer", "index": 0}}}
# One request in about 20 ms, so that a run lasts long enough to be disturbed; refuses n < 0 until
# the file beside it says otherwise.
SCRIPT = """
    import os, time
    from model_service.model_service import SingleNodeService

    class Doubler(SingleNodeService):
        def __init__(self, model_name, model_path):
            super().__init__(model_name, model_path)
            if os.environ.get("BROKEN"):
                raise RuntimeError("nothing to load")

        def _preprocess(self, data):
            return data

        def _inference(self, data):
            time.sleep(float(os.environ.get("PAUSE", "0")))
            if data["n"] < 0 and not os.environ.get("MENDED"):
                raise ValueError(f"{data['n']} is negative")
            return {"twice": 2 * data["n"]}

        def _postprocess(self, data):
            return data
"""
API: Json = {
    "url": "/",
    "method": "post",
    "protocol": "http",
    "request": {"Content-type": "application/json", "data": SCHEMA},
    "response": {"Content-type": "application/json", "data": {"type": "object"}},
}


class Place:
    """The platform, the model, and the object store's folder."""

    def __init__(self, stack: Stack, model_id: str) -> None:
        self.stack, self.model_id = stack, model_id
        self.number = 0

    def rows(self, count: int, bad: tuple[int, ...] = ()) -> tuple[str, str]:
        """A new folder with one CSV file, and a place for its results."""
        self.number += 1
        folder = self.stack.home / "objects" / "inbox" / f"rows-{self.number}"
        folder.mkdir(parents=True)
        lines = "".join(f"{-n if n in bad else n}\n" for n in range(1, count + 1))
        (folder / "table.csv").write_text(lines)
        return f"obs://inbox/rows-{self.number}/", f"obs://outbox/res-{self.number}/"

    def job(self, source: str, target: str, pause: float = 0.0, **more: Any) -> Json:
        return {
            "model_id": self.model_id,
            "specification": "modelarts.vm.cpu.2u",
            "instance_count": 1,
            "src_path": source,
            "dest_path": target,
            "req_uri": "/",
            "mapping_type": "csv",
            "mapping_rule": RULE,
            "envs": {"PAUSE": str(pause)},
            **more,
        }

    def create(self, *config: Json) -> str:
        body = {
            "service_name": f"batch-{self.number}-{time.monotonic_ns()}",
            "infer_type": "batch",
            "config": list(config),
        }
        answer = self.stack.client.post(path(self.stack), json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["service_id"])

    def run(self, service_id: str) -> Json:
        """The last run, in full."""
        runs = get(self.stack, path(self.stack, service_id, "runs"))["runs"]
        return get(self.stack, path(self.stack, service_id, f"runs/{runs[0]['task_id']}"))

    def under_way(self, service_id: str, rows: int) -> Json:
        """Wait until so many rows are processed, and the run goes on."""

        def far_enough() -> Json | None:
            run = self.run(service_id)
            assert run["status"] in ("waiting", "running"), run
            return run if run["processed"] >= rows else None

        found: Json = until(far_enough, 60, lambda: str(events(self.stack, service_id)[:6]))
        return found

    def read(self, target: str, name: str) -> str:
        bucket, _, key = target.removeprefix("obs://").partition("/")
        return (self.stack.home / "objects" / bucket / key / name).read_text()

    def results(self, target: str, task_id: str) -> list[Json]:
        text = self.read(target, f"infer-result-{task_id}/table.csv_result.txt")
        return [json.loads(line) for line in text.splitlines()]

    def written(self, target: str) -> list[str]:
        """The names below a place for results."""
        bucket, _, key = target.removeprefix("obs://").partition("/")
        folder = self.stack.home / "objects" / bucket / key
        return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())

    def driver(self, task_id: str) -> int | None:
        process = read_record(self.stack.home / "batch" / task_id / "driver.json")
        return process.pid if process else None


def import_doubler(stack: Stack, folder: Path) -> str:
    """The model's id."""
    package = write_package(folder, "1.0.0", SCRIPT, apis=[API])
    return stack.import_model(package, "doubler", "1.0.0")


def twice(count: int) -> list[Json]:
    return [{"twice": 2 * n} for n in range(1, count + 1)]
