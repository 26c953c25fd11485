"""What ends a command on purpose; shown as one line by ``app.main``.

::

    CliError            exit code 1
    ├── PlatformDown      nobody answers at the address
    └── ApiFailure        the API refused, with its code and message
"""

from __future__ import annotations

from modelyard.client.documents import Document


class CliError(Exception):
    """``message`` says what went wrong, ``remedy`` what to do next (may be empty)."""

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy

    def sentence(self) -> str:
        """Both as one line."""
        return str(self)


class PlatformDown(CliError):
    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"No platform answers at {address} ({reason}).",
            "Start it with `modelyard up --detach`, or look with `modelyard status`.",
        )


class ApiFailure(CliError):
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
