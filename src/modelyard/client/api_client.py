"""The HTTP client behind every command: one token in memory, renewed when it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import httpx

from modelyard.client.credentials import Credentials, find_credentials
from modelyard.client.documents import Body, Document
from modelyard.client.failures import ApiFailure, PlatformDown

_TIMEOUT = httpx.Timeout(60.0, connect=5.0)

Query: TypeAlias = Mapping[str, str | int]
Upload: TypeAlias = tuple[str, tuple[str, bytes]]
"""A form field and the file's name and content."""


@dataclass(frozen=True, slots=True)
class _Payload:
    """What a request carries beside method and URL; the names are httpx's."""

    json: Body | None = None
    params: Query | None = None
    content: bytes | None = None
    files: Sequence[Upload] | None = None
    data: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, for those who show them."""

    method: str
    path: str
    body: Body | None
    status: int
    answer: object
    headers: Mapping[str, str]


class Client:
    """Calls the platform as one user in one project.

    ``watch`` is called after each exchange except those for tokens. Calls raise ``ApiFailure``
    when the API refuses and ``PlatformDown`` when nobody answers.
    """

    def __init__(
        self, credentials: Credentials, watch: Callable[[Exchange], None] | None = None
    ) -> None:
        self.credentials = credentials
        self.watch = watch
        self._http = httpx.Client(
            base_url=credentials.address,
            timeout=_TIMEOUT,
            trust_env=False,
            # Loading the system's certificates takes longer than most commands.
            verify=credentials.address.startswith("https://"),
        )
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
        self._http.close()

    @property
    def address(self) -> str:
        return self.credentials.address

    @property
    def project_id(self) -> str:
        if not self._project_id:
            self.token()
        return self._project_id

    def token(self, *, renew: bool = False) -> str:
        """A project-scoped token (iam.md §1)."""
        if self._token and not renew:
            return self._token
        answer = self._send(
            "POST", "/v3/auth/tokens?nocatalog=1", _Payload(json=self._token_request())
        )
        if answer.status_code != httpx.codes.CREATED:
            raise _refusal(
                answer, f"The credentials come from {self.credentials.source}: check them there."
            )
        self._token = answer.headers.get("X-Subject-Token", "")
        project = Document(answer.json()).part("token").part("project")
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
        """One call; ``path`` starts with ``/``. Answers that are no object read as empty."""
        payload = _Payload(json=body, params=query, headers=headers or {})
        answer = self._authorised(method, path, payload)
        content = _content(answer)
        self._tell(method, answer, body, content)
        if answer.is_error:
            raise _refusal(answer)
        return Document(content, answer.headers.get("ETag", ""))

    def project(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Document:
        """A call below ``/v1/{project_id}``."""
        return self.call(method, f"/v1/{self.project_id}{path}", body, query, headers)

    def pages(self, path: str, key: str, query: Query | None = None) -> Iterator[Document]:
        """All records of a list, page by page (services.md §12 row 22: record offsets)."""
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
        """POST to a service's ``access_address`` (inference.md §1); raises on a refusal."""
        content = json.dumps(body).encode() if raw is None and body is not None else raw
        answer = self._authorised(
            "POST",
            address,
            _Payload(
                content=content,
                files=files or None,
                data=fields or None,
                headers={} if files or fields else {"Content-Type": "application/json"},
            ),
        )
        exchange = self._tell("POST", answer, body, _content(answer))
        if answer.is_error:
            raise _refusal(answer)
        return exchange

    def _tell(
        self, method: str, answer: httpx.Response, body: Body | None, content: object
    ) -> Exchange:
        exchange = Exchange(
            method=method,
            path=answer.request.url.raw_path.decode(),
            body=body,
            status=answer.status_code,
            answer=content,
            headers=dict(answer.headers),
        )
        if self.watch is not None:
            self.watch(exchange)
        return exchange

    def _authorised(self, method: str, url: str, payload: _Payload) -> httpx.Response:
        def once() -> httpx.Response:
            headers = {**payload.headers, "X-Auth-Token": self.token()}
            return self._send(method, url, replace(payload, headers=headers))

        answer = once()
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self.token(renew=True)
            answer = once()
        return answer

    def _send(self, method: str, url: str, payload: _Payload) -> httpx.Response:
        try:
            return self._http.request(
                method,
                url,
                json=payload.json,
                params=payload.params,
                content=payload.content,
                files=payload.files,
                data=payload.data,
                headers=payload.headers,
            )
        except httpx.TimeoutException as error:
            raise PlatformDown(self.address, f"no answer to {method} {url} in time") from error
        except httpx.TransportError as error:
            raise PlatformDown(self.address, str(error)) from error


def _content(answer: httpx.Response) -> object:
    try:
        return answer.json()
    except ValueError:
        return answer.text


def _refusal(answer: httpx.Response, remedy: str = "") -> ApiFailure:
    """The API's own words; Keystone's shape on ``/v3`` (iam.md §1, §5), a model's ``MR.`` shape."""
    content = Document(_content(answer))
    message = (
        content.text("error_msg")
        or content.part("error").text("message")
        or content.text("msg")
        or answer.text[:300]
        or answer.reason_phrase
    )
    others = [
        f"{problem.text('field')}: {problem.text('reason')}. {problem.text('remedy')}"
        for problem in content.parts("problems")[1:]
    ]
    code = content.text("error_code") or content.text("erno")
    return ApiFailure(answer.status_code, code, "\n".join([message, *others]), remedy, content)


@contextmanager
def connected(home: Path | None) -> Iterator[Client]:
    """A client as the credentials of ``home`` or the environment say."""
    with Client(find_credentials(home)) as client:
        yield client
