"""The one hierarchy of errors; raised anywhere, rendered once in ``api/app.py``.

::

    ModelyardError
    ├── InvalidRequest     400  a body, query or path that breaks the API's rules
    ├── DependenciesFailed 400  what a package wants installed cannot be had
    │   └── EnvironmentTooLarge  it would take more disk than one environment may
    ├── StateForbids       400  the resource's present state forbids the action
    ├── Unauthenticated    401  no token, or one that does not verify
    ├── Forbidden          403  a good token that may not do this
    ├── NotFound           404  unknown, or another project's
    ├── Conflict           409  a name that is taken
    ├── PreconditionFailed 412  the resource is no longer what the caller takes it for
    ├── KeyReused          422  an Idempotency-Key that named another call before
    ├── InternalFailure    500  our fault; the cause is in the log
    ├── NewerDatabase      500  the database was written by a newer build; refused at the start
    └── Unavailable        503  a part is not answering; try again
        └── GatewayTimeout      Envoy did not acknowledge in time

``code`` is the number behind ``ModelArts.`` (spec: iam.md §6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a request.

    ``field`` is a dotted path into the body (``config[0].weight``), ``reason`` what is wrong,
    ``remedy`` what to send instead, ``code`` the API's number (``3037``), ``status`` the HTTP
    status that goes with it (iam.md §6).
    """

    field: str
    reason: str
    remedy: str
    code: str = "3037"
    status: int = 400

    def sentence(self) -> str:
        """The problem as the one line that ``error_msg`` carries."""
        return f"{self.field}: {self.reason}. {self.remedy}".strip()


class ModelyardError(Exception):
    """Base of everything the API answers on purpose."""

    status = 500
    code = "0010"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        field: str | None = None,
        problems: Sequence[Problem] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.status = status or self.status
        self.field = field
        self.problems = tuple(problems)
        self.members: Mapping[str, object] = {}
        """Further members of the answer."""


class InvalidRequest(ModelyardError):
    status = 400
    code = "3037"


class DependenciesFailed(ModelyardError):
    status = 400
    code = "3041"


class EnvironmentTooLarge(DependenciesFailed):
    pass


class StateForbids(ModelyardError):
    status = 400
    code = "3519"


class Unauthenticated(ModelyardError):
    status = 401
    code = "0203"


class Forbidden(ModelyardError):
    status = 403
    code = "0108"


class NotFound(ModelyardError):
    status = 404
    code = "0010"


class Conflict(ModelyardError):
    status = 409
    code = "3503"


class PreconditionFailed(ModelyardError):
    status = 412
    code = "3519"


class KeyReused(ModelyardError):
    status = 422
    code = "0107"


class InternalFailure(ModelyardError):
    status = 500
    code = "0010"


class NewerDatabase(ModelyardError):
    status = 500
    code = "0010"


class Unavailable(ModelyardError):
    status = 503
    code = "4302"


class GatewayTimeout(Unavailable):
    pass


def refuse(problems: Sequence[Problem]) -> InvalidRequest:
    """The error for a request with ``problems``: the first one names code, status and message."""
    first = problems[0]
    return InvalidRequest(
        first.sentence(),
        code=first.code,
        status=first.status,
        field=first.field,
        problems=problems,
    )
