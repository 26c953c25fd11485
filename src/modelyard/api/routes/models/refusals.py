"""Why a call on models is refused (models.md §1); pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelyard.errors import Conflict, InvalidRequest, NotFound, Problem, refuse
from modelyard.packages.importing.creation import NewModel
from modelyard.store.tables.model import Model

Json = dict[str, Any]


def no_object() -> InvalidRequest:
    """For a body that is not an object."""
    return refuse([Problem("body", "must be a JSON object", "Send one.", code="4105")])


def version_taken(new: NewModel) -> Conflict:
    """For a name and version that the project has already."""
    return Conflict(
        f"model_version: {new.name} {new.version} exists already. Choose another version.",
        code="3002",
        field="model_version",
    )


def not_found(model_id: str) -> NotFound:
    """The answer for a model that the project does not have."""
    return NotFound(f"Model {model_id} does not exist.", code="3001")


def not_so_many(most: int) -> InvalidRequest:
    """For a list of ids that is empty or longer than ``most``."""
    reason = f"must name 1 to {most} models"
    return refuse([Problem("model_id", reason, "Delete in several calls.")])


def in_use(model: Model, users: Sequence[str]) -> Conflict:
    """For a model that services use."""
    names = ", ".join(users[:5])
    return Conflict(
        f"{model.name} {model.version} is used by {names}. Delete or update them first.",
        code="3009",
    )


def failure(model_id: str, error: NotFound | Conflict) -> Json:
    """An element of ``delete_failed_list``."""
    code = f"ModelArts.{error.code}"
    return {"model_id": model_id, "error_code": code, "error_msg": error.message}
