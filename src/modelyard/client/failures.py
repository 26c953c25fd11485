"""The errors of the client; a command that raises one prints it as one line.

::

    ClientError
    ├── PlatformDown      no answer from the address
    └── ApiFailure        the API refused the request, with its code and message
"""

from __future__ import annotations

from modelyard.client.documents import Document


class ClientError(Exception):
    """``message`` describes what went wrong, ``remedy`` what to do next (may be empty)."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy

    def sentence(self) -> str:
        """Return both as one line."""
        return str(self)


class PlatformDown(ClientError):
    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"No platform answers at {address} ({reason}).",
            "Start it with `modelyard up --detach`, or look with `modelyard status`.",
        )


class ApiFailure(ClientError):
    """``status``: HTTP status; ``code``: ``ModelArts.3502`` and the like, or empty (iam.md §5).

    ``answer``: the whole answer, as far as it is an object.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        remedy: str = "",
        answer: Document | None = None,
    ) -> None:
        super().__init__(f"{code or f'HTTP {status}'}: {message}", remedy)
        self.status = status
        self.code = code
        self.answer = answer or Document({})
