"""Models and configurations of batch services, and their runs as the database has them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from loop_support import AUTHOR, Bench
from modelyard.domain.batch.run import Progress, Result
from modelyard.steps import Step
from modelyard.store.database import Database
from modelyard.store.tables.batch import BatchRun
from modelyard.store.tables.model import Model

Json = dict[str, Any]

ROWS, OTHER = "33333333-3333-4333-8333-333333333333", "44444444-4444-4444-8444-444444444444"
SCHEMA: Json = {"type": "object", "properties": {"x": {"type": "number"}}}
RULE: Json = {"type": "object", "properties": {"x": {"type": "number", "index": 0}}}
API: Json = {
    "url": "/",
    "method": "post",
    "content_type": "application/json",
    "input_params": SCHEMA,
}


def job(model_id: str = ROWS, count: int = 1, **more: Any) -> Json:
    """The one element of a batch service's config."""
    return {
        "model_id": model_id,
        "specification": "modelarts.vm.cpu.2u",
        "instance_count": count,
        "src_path": "obs://inbox/people/",
        "dest_path": "obs://outbox/res/",
        "req_uri": "/",
        "mapping_type": "csv",
        "mapping_rule": RULE,
        **more,
    }


def batch_models(project_id: str = AUTHOR.project_id) -> list[Model]:
    """Two versions of a model of rows."""
    return [
        Model(
            id=model_id,
            project_id=project_id,
            name="rows",
            version=number,
            version_order=1,
            model_type="Custom",
            status="published",
            owner=AUTHOR.user_id,
            tenant=AUTHOR.domain_id,
            source_location="/b/k/",
            requested={},
            install_type=["real-time", "batch"],
            apis=[API],
            package_dir="",
            created_at=1,
        )
        for model_id, number in ((ROWS, "0.0.1"), (OTHER, "0.0.2"))
    ]


async def add_models(database: Database, project_id: str = AUTHOR.project_id) -> None:
    async with database.write(Step.TEST) as session:
        session.add_all(batch_models(project_id))


async def create(bench: Bench, *config: Json, **more: Any) -> str:
    return await bench.create(*(config or (job(),)), infer_type="batch", **more)


async def runs_of(bench: Bench, service_id: str) -> list[BatchRun]:
    """All runs of a service, the oldest first."""
    async with bench.database.read() as session:
        statement = select(BatchRun).where(BatchRun.service_id == service_id)
        return list(await session.scalars(statement.order_by(BatchRun.created_at)))


async def last_run(bench: Bench, service_id: str) -> BatchRun:
    return (await runs_of(bench, service_id))[-1]


def progress(rows: int, failed: int = 0, of: int = 100) -> Progress:
    """Of a CSV of ``of`` rows, a byte each."""
    return Progress(
        phase="running",
        listed=True,
        files_total=1,
        rows_done=rows,
        rows_failed=failed,
        bytes_total=of,
        bytes_done=rows,
        rate=10.0,
    )


def finished(rows: int = 100, failed: int = 0) -> Result:
    done = Progress("done", True, 1, 1, 0, rows, failed, rows, rows)
    manifests = ("obs://outbox/res/infer-result-x.manifest",)
    quarantine = "obs://outbox/res/infer-result-x-quarantine.jsonl" if failed else ""
    return Result("finished", done, manifests=manifests, quarantine=quarantine)
