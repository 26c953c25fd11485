"""The row of a model that is about to be imported."""

from __future__ import annotations

from modelyard.api.context import Context
from modelyard.iam.claims import Claims
from modelyard.packages.importing.creation import NewModel, version_order
from modelyard.packages.importing.published import Overrides
from modelyard.store import models as store
from modelyard.store.tables.model import Model


def new_row(context: Context, claims: Claims, new: NewModel) -> Model:
    """``new``, to be published for the project of ``claims``."""
    assert claims.project_id is not None
    return Model(
        id=context.clock.new_uuid(),
        project_id=claims.project_id,
        name=new.name,
        version=new.version,
        version_order=version_order(new.version),
        model_type=new.model_type,
        runtime=new.runtime,
        description=new.description,
        status=store.PUBLISHING,
        owner=claims.user_id,
        tenant=claims.domain_id,
        workspace_id=new.workspace_id,
        source_location=new.source_location,
        execution_code=new.execution_code,
        source_job_id=new.source_job_id,
        source_job_version=new.source_job_version,
        source_type=new.source_type,
        requested=Overrides.of(new).document(),
        install_type=list(new.install_type),
        model_docs=list(new.model_docs),
        created_at=context.clock.now_ms(),
    )
