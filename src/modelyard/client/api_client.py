"""Send requests as one user; the token is kept in memory, and renewed when it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias
from urllib.parse import urlencode, urlsplit

from urllib3 import BaseHTTPResponse, PoolManager, Timeout
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as NotInTime

from modelyard.client.credentials import Credentials, find_credentials
from modelyard.client.documents import Body, Document
from modelyard.client.failures import ApiFailure, PlatformDown

_TIMEOUT = Timeout(connect=5.0, read=60.0)

Query: TypeAlias = Mapping[str, str | int]
Upload: TypeAlias = tuple[str, tuple[str, bytes]]
"""A form field and the file's name and content."""
FormPart: TypeAlias = tuple[str, str | tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class _Payload:
    """What a request carries beside method and URL. ``fields``: the parts of a form."""

    json: Body | None = None
    query: Query | None = None
    content: bytes | None = None
    fields: Sequence[FormPart] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer; the names of ``headers`` are in lower case."""

    method: str
    path: str
    body: Body | None
    status: int
    answer: object
    headers: Mapping[str, str]


class Client:
    """Calls the platform as one user in one project.

    ``watch`` is called after each exchange except those for tokens. Calls raise ``ApiFailure``
    when the API refuses, and ``PlatformDown`` when there is no answer.
    """

    def __init__(
        self, credentials: Credentials, watch: Callable[[Exchange], None] | None = None
    ) -> None:
        self.credentials = credentials
        self.watch = watch
        self._http = PoolManager(timeout=_TIMEOUT, retries=False)
        self._token = ""
        self._project_id = credentials.project_id

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.clear()

    @property
    def address(self) -> str:
        return self.credentials.address

    @property
    def project_id(self) -> str:
        if not self._project_id:
            self.token()
        return self._project_id

    def token(self, *, renew: bool = False) -> str:
        """Return a project-scoped token (iam.md §1)."""
        if self._token and not renew:
            return self._token
        answer = self._send(
            "POST", "/v3/auth/tokens?nocatalog=1", _Payload(json=self._token_request())
        )
        if answer.status != HTTPStatus.CREATED:
            raise _refusal(
                answer, f"The credentials come from {self.credentials.source}: check them there."
            )
        self._token = answer.headers.get("X-Subject-Token", "")
        project = Document(_content(answer)).part("token").part("project")
        self._project_id = project.text("id") or self._project_id
        return self._token

    def _token_request(self) -> dict[str, object]:
        who = self.credentials
        project: dict[str, object] = (
            {"id": who.project_id}
            if who.project_id
            else {"name": who.project_name, "domain": {"name": who.domain_name}}
        )
        user = {
            "name": who.user_name,
            "password": who.password,
            "domain": {"name": who.domain_name},
        }
        return {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": project},
            }
        }

    def call(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Document:
        """Make one call; ``path`` starts with ``/``. An answer that is no object reads as empty."""
        payload = _Payload(json=body, query=query, headers=headers or {})
        answer = self._authorised(method, path, payload)
        exchange = self._exchange(method, path, query, answer, body)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise _refusal(answer)
        return Document(exchange.answer, answer.headers.get("ETag", ""))

    def project(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Document:
        """Make a call below ``/v1/{project_id}``."""
        return self.call(method, f"/v1/{self.project_id}{path}", body, query, headers)

    def pages(self, path: str, key: str, query: Query | None = None) -> Iterator[Document]:
        """Yield all records of a list, page by page (services.md §12 row 22: record offsets)."""
        offset = 0
        while True:
            page = self.project("GET", path, query={**(query or {}), "offset": offset})
            records = page.parts(key)
            yield from records
            offset += len(records)
            if not records or offset >= page.number("total_count"):
                return

    def predict(
        self,
        address: str,
        *,
        body: Body | None = None,
        raw: bytes | None = None,
        files: Sequence[Upload] = (),
        fields: Mapping[str, str] | None = None,
    ) -> Exchange:
        """POST to a service's ``access_address`` (inference.md §1)."""
        content = json.dumps(body).encode() if raw is None and body is not None else raw
        form: list[FormPart] = [*(fields or {}).items(), *files]
        headers = {} if form else {"Content-Type": "application/json"}
        payload = _Payload(content=content, fields=form, headers=headers)
        answer = self._authorised("POST", address, payload)
        exchange = self._exchange("POST", address, None, answer, body)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise _refusal(answer)
        return exchange

    def _exchange(
        self,
        method: str,
        url: str,
        query: Query | None,
        answer: BaseHTTPResponse,
        body: Body | None,
    ) -> Exchange:
        exchange = Exchange(
            method=method,
            path=_with_query(urlsplit(url).path, query),
            body=body,
            status=answer.status,
            answer=_content(answer),
            headers={name.lower(): value for name, value in answer.headers.items()},
        )
        if self.watch is not None:
            self.watch(exchange)
        return exchange

    def _authorised(self, method: str, url: str, payload: _Payload) -> BaseHTTPResponse:
        def once() -> BaseHTTPResponse:
            headers = {**payload.headers, "X-Auth-Token": self.token()}
            return self._send(method, url, replace(payload, headers=headers))

        answer = once()
        if answer.status == HTTPStatus.UNAUTHORIZED:
            self.token(renew=True)
            answer = once()
        return answer

    def _send(self, method: str, url: str, payload: _Payload) -> BaseHTTPResponse:
        whole = _with_query(f"{self.address}{url}" if url.startswith("/") else url, payload.query)
        given: dict[str, object] = {}
        if payload.json is not None:
            given["json"] = payload.json
        elif payload.fields:
            given["fields"] = payload.fields
            given["encode_multipart"] = any(isinstance(part, tuple) for _, part in payload.fields)
        else:
            given["body"] = payload.content
        try:
            return self._http.request(
                method,
                whole,
                headers=dict(payload.headers),
                redirect=False,
                **given,  # type: ignore[arg-type]
            )
        except NotInTime as error:
            raise PlatformDown(self.address, f"no answer to {method} {url} in time") from error
        except (HTTPError, OSError) as error:
            raise PlatformDown(self.address, str(error.__cause__ or error)) from error


def _with_query(url: str, query: Query | None) -> str:
    return f"{url}?{urlencode(query)}" if query else url


def _content(answer: BaseHTTPResponse) -> object:
    try:
        return answer.json()
    except ValueError:
        return answer.data.decode(errors="replace")


def _refusal(answer: BaseHTTPResponse, remedy: str = "") -> ApiFailure:
    """Read the API's error, Keystone's on ``/v3`` (iam.md §1, §5), or a model's (``MR.``)."""
    content = Document(_content(answer))
    message = (
        content.text("error_msg")
        or content.part("error").text("message")
        or content.text("msg")
        or answer.data.decode(errors="replace")[:300]
        or answer.reason
        or "no reason was given"
    )
    others = [
        f"{problem.text('field')}: {problem.text('reason')}. {problem.text('remedy')}"
        for problem in content.parts("problems")[1:]
    ]
    code = content.text("error_code") or content.text("erno")
    return ApiFailure(answer.status, code, "\n".join([message, *others]), remedy, content)


@contextmanager
def connected(home: Path | None) -> Iterator[Client]:
    """Open a client with the credentials of ``home`` or of the environment."""
    with Client(find_credentials(home)) as client:
        yield client
