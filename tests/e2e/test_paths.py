"""Path tricks and other people's projects (quality.md S2): the same service, or nothing at all."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

import raw_http
from live import BODY, entry, import_echo, service
from modelyard.gateway.config.resources import names
from stack import Stack


@dataclass(frozen=True)
class Tenant:
    """Somebody with a token for one project, and a service of theirs."""

    token: str
    project_id: str
    service_id: str
    version: str


def other_project(stack: Stack) -> tuple[str, str]:
    """A second user in a second project; gives the project's id and a token for it."""
    mark = uuid.uuid4().hex[:8]
    admin = stack.client
    domain = admin.get(
        "/v3/auth/tokens", headers={"X-Subject-Token": admin.headers["X-Auth-Token"]}
    ).json()["token"]["project"]["domain"]
    project = admin.post(
        "/v3/projects", json={"project": {"name": f"p-{mark}", "domain_id": domain["id"]}}
    )
    assert project.status_code == 201, project.text
    project_id = str(project.json()["project"]["id"])
    user = admin.post(
        "/v3/users",
        json={"user": {"name": f"u-{mark}", "password": "Secret-1234", "domain_id": domain["id"]}},
    )
    assert user.status_code == 201, user.text
    roles = {r["name"]: r["id"] for r in admin.get("/v3/roles").json()["roles"]}
    grant = admin.put(
        f"/v3/projects/{project_id}/users/{user.json()['user']['id']}/roles/{roles['member']}"
    )
    assert grant.status_code in (200, 201, 204), grant.text
    auth = {
        "identity": {
            "methods": ["password"],
            "password": {
                "user": {
                    "name": f"u-{mark}",
                    "password": "Secret-1234",
                    "domain": {"id": domain["id"]},
                }
            },
        },
        "scope": {"project": {"id": project_id}},
    }
    answer = httpx.post(f"{stack.address}/v3/auth/tokens", json={"auth": auth}, trust_env=False)
    assert answer.status_code == 201, answer.text
    return project_id, answer.headers["X-Subject-Token"]


@pytest.fixture(scope="module")
def owner(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    model = import_echo(stack, tmp_path_factory.mktemp("paths"), "paths", "1.0.0")
    with service(stack, [entry(model, 100)]) as service_id:
        yield Tenant(stack.token(), stack.project_id, service_id, "1.0.0")


@pytest.fixture(scope="module")
def stranger(stack: Stack) -> Tenant:
    project_id, token = other_project(stack)
    return Tenant(token, project_id, "", "")


# {s}: the service's id, {S}: in capitals, {p}: its project.
TRICKS = (
    "/v1/infers/{s}/",
    "/v1/infers/{s}?q=1",
    "/v1/infers/{s}/?q=1",
    "/v1/infers/{s}//",
    "//v1/infers/{s}",
    "/v1//infers/{s}",
    "/v1/infers//{s}",
    "///v1///infers///{s}",
    "/v1/./infers/{s}",
    "/v1/infers/./{s}",
    "/v1/infers/{s}/.",
    "/v1/infers/{s}/..",
    "/v1/infers/x/../{s}",
    "/v1/infers/{s}/../{s}",
    "/v1/x/../infers/{s}",
    "/v1/infers/%2e/{s}",
    "/v1/infers/x/%2e%2e/{s}",
    "/v1/infers/x/%2E%2E/{s}",
    "/v1/infers/x/.%2e/{s}",
    "/v1/infers/x/%252e%252e/{s}",
    "/v1/infers%2f{s}",
    "/v1%2finfers%2f{s}",
    "%2fv1%2finfers%2f{s}",
    "/v1/infers/{s}%2f",
    "/v1/infers/{s}%2fpredictions",
    "/v1/infers/x%2f..%2f{s}",
    "/v1/infers\\{s}",
    "/v1\\infers\\{s}",
    "/v1/infers%5c{s}",
    "/v1/infers/{s}%00",
    "/v1/infers/%00{s}",
    "/v1/infers/{s}%0d%0aX-Auth-Token:x",
    "/v1/infers/{s}%20",
    "/v1/infers/{s}%09",
    "/v1/infers/{s};x=1",
    "/v1/infers;x=1/{s}",
    "/v1;x/infers/{s}",
    "/v1/infers/{s}%3fq=1",
    "/v1/infers/{s}%23",
    "/v1/infers/{s}#x",
    "/V1/infers/{s}",
    "/v1/INFERS/{s}",
    "/v1/Infers/{s}",
    "/v1/infers/{S}",
    "/v1/infers/%7b{s}%7d",
    "/v1/infers/{s}*",
    "/v1/infers/*",
    "/v1/infers/",
    "/v1/infers",
    "/v1/infers//",
    "/v1/infer/{s}",
    "/v2/infers/{s}",
    "/infers/{s}",
    "/{s}",
    "/v1/%69nfers/{s}",
    "/v1/infer%73/{s}",
    "/v1/infers/%c0%ae%c0%ae/{s}",
    "/v1/infers/{s}%c0%af",
    "/v1/infers/\xff{s}",
    "/v1/{p}/services/../../infers/{s}",
    "/v1/{p}/../infers/{s}",
    "/v3/../v1/infers/{s}",
    "/../v1/infers/{s}",
    "/..%2fv1/infers/{s}",
    "http://modelyard/v1/infers/{s}",
    "http://elsewhere/v1/infers/{s}",
    "http://modelyard//v1/infers/{s}",
    "modelyard:80/v1/infers/{s}",
    "*",
    "?/v1/infers/{s}",
    "",
)


def aim(trick: str, to: Tenant) -> str:
    return trick.format(s=to.service_id, S=to.service_id.upper(), p=to.project_id)


def post(stack: Stack, target: str, token: str | None, **headers: str) -> raw_http.RawAnswer:
    every = dict(headers)
    if token:
        every["X-Auth-Token"] = token
    sent = raw_http.request("POST", target, every, BODY.encode())
    answer = raw_http.send(stack.address, sent)
    assert answer.status < 500, (target, answer.status, answer.body)
    return answer


@pytest.mark.parametrize("trick", TRICKS)
def test_trick(stack: Stack, owner: Tenant, stranger: Tenant, trick: str) -> None:
    target = aim(trick, owner)
    mine = post(stack, target, owner.token)
    if mine.status == 200:
        assert mine.headers["x-modelyard-model-version"] == owner.version
    else:
        assert mine.status in (0, 400, 404, 405), (mine.status, mine.body)
    for token in (None, stranger.token, "nonsense"):
        theirs = post(stack, target, token)
        assert theirs.status in (0, 400, 401, 403, 404, 405), (theirs.status, theirs.body)
        assert not theirs.reached_an_instance, (target, theirs)


def test_the_plain_address_works(stack: Stack, owner: Tenant) -> None:
    for target in ("/v1/infers/{s}", "/v1/infers/{s}/", "/v1/infers/{s}?q=1", "/v1/infers/{s}/?q"):
        answer = post(stack, aim(target, owner), owner.token)
        assert answer.status == 200, (target, answer.status, answer.body)


def test_unknown_and_foreign_services_look_alike_where_they_may(
    stack: Stack, owner: Tenant, stranger: Tenant
) -> None:
    unknown = post(stack, f"/v1/infers/{uuid.uuid4()}", stranger.token)
    assert unknown.status == 404
    foreign = post(stack, aim("/v1/infers/{s}", owner), stranger.token)
    assert foreign.status in (403, 404)
    assert owner.project_id.encode() not in foreign.body


@pytest.mark.parametrize(
    "header",
    [
        names.SCOPE_HEADER,
        "x-envoy-original-path",
        "x-original-url",
        "x-rewrite-url",
        "x-forwarded-uri",
        "x-http-method-override",
        "x-envoy-upstream-alt-stat-name",
        "x-envoy-retry-on",
    ],
)
def test_headers_steer_nothing(stack: Stack, owner: Tenant, stranger: Tenant, header: str) -> None:
    value = aim("/v1/infers/{s}", owner)
    for target in ("/v1/infers/" + str(uuid.uuid4()), "/v3", "/"):
        for token in (None, stranger.token):
            answer = post(stack, target, token, **{header: value})
            assert not answer.reached_an_instance
    # Nor do they spoil a good call.
    assert post(stack, value, owner.token, **{header: "/v3"}).status == 200


def test_the_control_plane_is_not_reached_around_the_token(
    stack: Stack, owner: Tenant, stranger: Tenant
) -> None:
    for target in (
        f"/v1/infers/{owner.service_id}/../../{owner.project_id}/services",
        f"/v1/infers/..%2f{owner.project_id}/services",
        f"//v1//{owner.project_id}//services",
        f"/v3/../v1/{owner.project_id}/services",
    ):
        for token in (None, stranger.token):
            headers = {"X-Auth-Token": token} if token else {}
            answer = raw_http.send(stack.address, raw_http.request("GET", target, headers, b""))
            assert answer.status in (400, 401, 403, 404), (target, answer.status, answer.body)


def smuggled(owner: Tenant) -> dict[str, bytes]:
    """Requests with two readings; the second request inside must never be answered."""
    inner = raw_http.request("POST", f"/v1/infers/{owner.service_id}", {}, BODY.encode())
    head = (
        f"POST /v1/infers/{owner.service_id} HTTP/1.1\r\nHost: modelyard\r\n"
        f"X-Auth-Token: {owner.token}\r\nContent-Type: application/json\r\n"
    ).encode()
    chunked_end = b"0\r\n\r\n"
    length = str(len(chunked_end + inner)).encode()
    return {
        "CL.TE": head + b"Content-Length: " + length
        + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked_end + inner,
        "TE.TE": head + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n"
        + chunked_end + inner,
        "TE with a blank": head + b"Transfer-Encoding : chunked\r\nContent-Length: " + length
        + b"\r\n\r\n" + chunked_end + inner,
        "two lengths": head + b"Content-Length: 2\r\nContent-Length: 90\r\n\r\n{}" + inner,
        "signed length": head + b"Content-Length: +2\r\n\r\n{}" + inner,
        "folded header": head + b"X-A: b\r\n Transfer-Encoding: chunked\r\n"
        b"Content-Length: 2\r\n\r\n{}",
        "NUL in a header": head + b"X-A: b\0c\r\nContent-Length: 2\r\n\r\n{}",
        "bare LF": head.replace(b"\r\n", b"\n") + b"Content-Length: 2\n\n{}",
        "1 MB header": head + b"X-A: " + b"a" * 1_000_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "CL.TE", "TE.TE", "TE with a blank", "two lengths", "signed length", "folded header",
        "NUL in a header", "bare LF", "1 MB header",
    ],
)  # fmt: skip
def test_smuggling(stack: Stack, owner: Tenant, name: str) -> None:
    try:
        answers = raw_http.exchange(stack.address, smuggled(owner)[name])
    except (BrokenPipeError, ConnectionResetError):
        return
    # At most the outer request is answered; a second answer, or one without a token, is a breach.
    assert len([a for a in answers if a.status == 200]) <= 1, answers
    assert len(answers) <= 1 or answers[1].status in (400, 401), answers
