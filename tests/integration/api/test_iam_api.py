"""Tokens, projects, users and discovery over HTTP (iam.md §1, §2)."""

from __future__ import annotations

import asyncio
import json
import logging
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import uvicorn
from catalogue_support import Catalogue, catalogue
from keystoneauth1 import session as ks_session
from keystoneauth1.exceptions import NotFound as KsNotFound
from keystoneauth1.exceptions import Unauthorized as KsUnauthorized
from keystoneauth1.identity import v3

from modelyard.clock import SystemClock
from modelyard.iam.bootstrap import ensure_admin
from modelyard.settings import Settings
from ports import free_port


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Catalogue]:
    async with catalogue(tmp_path / "home") as running:
        yield running


def _error(body: Any) -> tuple[int, str]:
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "title"}
    return body["error"]["code"], body["error"]["message"]


async def test_first_start_writes_private_credentials(yard: Catalogue) -> None:
    path = yard.settings.layout.credentials_file
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = json.loads(path.read_text())
    assert set(found) == {
        *("auth_url", "region", "domain_name", "user_name", "password"),
        *("project_name", "project_id", "access_key", "secret_key"),
    }
    assert found["auth_url"] == f"{yard.settings.gateway.address}/v3"
    assert found["project_name"] == yard.settings.iam.region
    before = path.read_bytes()
    await ensure_admin(
        yard.database,
        yard.settings.iam,
        yard.settings.gateway.address,
        yard.settings.layout.credentials_file,
        SystemClock(),
    )
    assert path.read_bytes() == before


async def test_chosen_and_lost_passwords(yard: Catalogue, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    first = yard.credentials.password
    chosen = Settings(home=yard.settings.home, admin_password="chosen-by-me")
    changed = await ensure_admin(
        yard.database,
        chosen.iam,
        chosen.gateway.address,
        chosen.layout.credentials_file,
        SystemClock(),
    )
    assert changed.password == "chosen-by-me"
    assert changed.project_id == yard.credentials.project_id
    assert (await yard.log_in("admin", "chosen-by-me")).status_code == 201
    assert (await yard.log_in("admin", first)).status_code == 401
    yard.settings.layout.credentials_file.unlink()
    renewed = await ensure_admin(
        yard.database,
        yard.settings.iam,
        yard.settings.gateway.address,
        yard.settings.layout.credentials_file,
        SystemClock(),
    )
    assert renewed.password not in (first, "chosen-by-me")
    assert renewed.secret_key == yard.credentials.secret_key
    assert (await yard.log_in("admin", renewed.password)).status_code == 201
    for secret in ("chosen-by-me", first, renewed.password, renewed.secret_key):
        assert secret not in caplog.text


async def test_token_for_a_project(yard: Catalogue) -> None:
    name = yard.credentials.project_name
    response = await yard.log_in("admin", yard.credentials.password, {"project": {"name": name}})
    assert response.status_code == 201
    token = response.json()["token"]
    assert token["project"]["id"] == yard.credentials.project_id
    assert token["project"]["domain"]["name"] == yard.credentials.domain_name
    assert [role["name"] for role in token["roles"]] == ["admin"]
    assert token["methods"] == ["password"]
    assert token["expires_at"].endswith("Z")
    urls = {entry["type"]: entry["endpoints"][0]["url"] for entry in token["catalog"]}
    address, project_id = yard.settings.gateway.address, yard.credentials.project_id
    assert urls == {
        "identity": f"{address}/v3",
        "modelarts": f"{address}/v1/{project_id}",
        "modelartsv1": f"{address}/v1/{project_id}",
        "modelartsv2": f"{address}/v2/{project_id}",
    }
    subject = response.headers["X-Subject-Token"]
    assert jwt.get_unverified_header(subject)["alg"] == "ES256"
    assert yard.tokens.verify(subject).project_id == project_id


async def test_no_scope_means_the_only_project(yard: Catalogue) -> None:
    response = await yard.log_in("admin", yard.credentials.password)
    assert response.json()["token"]["project"]["id"] == yard.credentials.project_id
    caller = await yard.newcomer("ann")
    admin = await yard.admin()
    other = yard.credentials.project_id
    await admin.call("PUT", f"/v3/projects/{other}/users/{caller.user_id}/roles/member")
    unscoped = (await yard.log_in("ann", "long enough")).json()["token"]
    assert "project" not in unscoped
    assert "domain" not in unscoped
    assert [entry["type"] for entry in unscoped["catalog"]] == ["identity"]


@pytest.mark.parametrize("query", ["nocatalog", "nocatalog=", "nocatalog=true"])
async def test_nocatalog(yard: Catalogue, query: str) -> None:
    domain = {"name": yard.credentials.domain_name}
    user = {"name": "admin", "password": yard.credentials.password, "domain": domain}
    password = {"user": user}
    body = {"auth": {"identity": {"methods": ["password"], "password": password}}}
    response = await yard.http.post(f"/v3/auth/tokens?{query}", json=body)
    assert response.json()["token"]["catalog"] == []


async def test_user_by_id_and_domain_scope(yard: Catalogue) -> None:
    admin = await yard.admin()
    user = {"id": admin.user_id, "password": yard.credentials.password}
    domain = {"name": yard.credentials.domain_name}
    body = {
        "auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"domain": domain},
        }
    }
    token = (await yard.http.post("/v3/auth/tokens", json=body)).json()["token"]
    assert token["domain"]["name"] == yard.credentials.domain_name
    assert "project" not in token


async def test_wrong_passwords_and_users_look_alike(yard: Catalogue) -> None:
    wrong = await yard.log_in("admin", "wrong")
    unknown = await yard.log_in("nobody", "wrong")
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert wrong.json() == unknown.json()
    assert _error(wrong.json()) == (401, "The username or password is wrong.")


@pytest.mark.parametrize(
    "auth",
    [
        {},
        {"identity": {}},
        {"identity": {"methods": []}},
        {"identity": {"methods": ["password"]}},
        {"identity": {"methods": ["totp"]}},
        {"identity": {"methods": ["password", "totp"]}},
        {"identity": {"methods": ["token"]}},
        {"identity": {"methods": ["password"], "password": {"user": {"name": "admin"}}}},
        {"identity": {"methods": ["password"], "password": {"user": {"password": "secret-x"}}}},
        {
            "identity": {
                "methods": ["password"],
                "password": {"user": {"name": "a\u0000", "password": "secret-x", "domain": {}}},
            }
        },
        {
            "identity": {
                "methods": ["password"],
                "password": {"user": {"id": "a", "password": "secret-x"}},
            },
            "scope": {"project": {"id": "x"}, "domain": {"id": "y"}},
        },
        {
            "identity": {
                "methods": ["password"],
                "password": {"user": {"id": "a", "password": "secret-x"}},
            },
            "scope": {"system": {"all": True}},
        },
    ],
)
async def test_bad_authentication_bodies(yard: Catalogue, auth: object) -> None:
    response = await yard.http.post("/v3/auth/tokens", json={"auth": auth})
    code, message = _error(response.json())
    assert response.status_code == code == 400
    assert message
    assert "secret-x" not in response.text


async def test_not_json(yard: Catalogue) -> None:
    response = await yard.http.post(
        "/v3/auth/tokens", content=b"{", headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 400
    _error(response.json())


async def test_unknown_and_foreign_scopes_look_alike(yard: Catalogue) -> None:
    ann = await yard.newcomer("ann")
    foreign = await yard.log_in(
        "ann", "long enough", {"project": {"id": yard.credentials.project_id}}
    )
    unknown = await yard.log_in("ann", "long enough", {"project": {"id": "0" * 32}})
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.json() == unknown.json()
    domain = await yard.log_in(
        "ann", "long enough", {"domain": {"name": yard.credentials.domain_name}}
    )
    assert domain.status_code == 404
    assert ann.project_id != yard.credentials.project_id


async def test_show_token(yard: Catalogue) -> None:
    ann, bob, admin = await yard.newcomer("ann"), await yard.newcomer("bob"), await yard.admin()

    async def show(token: str, subject: str, method: str = "GET") -> Any:
        headers = {"X-Auth-Token": token, "X-Subject-Token": subject}
        return await yard.http.request(method, "/v3/auth/tokens", headers=headers)

    own = await show(ann.token, ann.token)
    assert own.status_code == 200
    assert own.json()["token"]["project"]["id"] == ann.project_id
    assert (await show(ann.token, ann.token, "HEAD")).status_code == 200
    assert (await show(admin.token, ann.token)).status_code == 200
    assert (await show(bob.token, ann.token)).status_code == 403
    assert (await show(ann.token, "rubbish")).status_code == 404
    assert (await show("rubbish", ann.token)).status_code == 401
    missing = await yard.http.get("/v3/auth/tokens")
    assert _error(missing.json())[0] == missing.status_code == 401


async def test_rescoping_does_not_prolong(yard: Catalogue) -> None:
    admin = await yard.admin()
    body = {
        "auth": {
            "identity": {"methods": ["token"], "token": {"id": admin.token}},
            "scope": {"project": {"id": admin.project_id}},
        }
    }
    response = await yard.http.post("/v3/auth/tokens", json=body)
    assert response.status_code == 201
    old = yard.tokens.verify(admin.token)
    new = yard.tokens.verify(response.headers["X-Subject-Token"])
    assert new.expires_at == old.expires_at
    assert new.project_id == admin.project_id


async def test_projects_are_ones_own(yard: Catalogue) -> None:
    ann, bob, admin = await yard.newcomer("ann"), await yard.newcomer("bob"), await yard.admin()
    for path in ("/v3/projects", "/v3/auth/projects", f"/v3/users/{ann.user_id}/projects"):
        found = (await ann.call("GET", path)).json()["projects"]
        assert [project["id"] for project in found] == [ann.project_id]
    assert (await ann.call("GET", f"/v3/projects/{ann.project_id}")).status_code == 200
    foreign = await ann.call("GET", f"/v3/projects/{bob.project_id}")
    unknown = await ann.call("GET", f"/v3/projects/{'0' * 32}")
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.json() == unknown.json()
    assert (await ann.call("GET", f"/v3/users/{bob.user_id}/projects")).status_code == 403
    assert (await admin.call("GET", f"/v3/users/{bob.user_id}/projects")).status_code == 200
    filters = {"name=nope": 0, "name=p-ann": 1, "enabled=false": 0, "page=2&per_page=1": 0}
    for query, count in filters.items():
        found = (await ann.call("GET", f"/v3/projects?{query}")).json()["projects"]
        assert len(found) == count, query
    domain_id = found_domain = yard.tokens.verify(admin.token).domain_id
    everyone = (await admin.call("GET", f"/v3/projects?domain_id={domain_id}")).json()["projects"]
    assert len(everyone) == 3
    mine = (await ann.call("GET", f"/v3/projects?domain_id={found_domain}")).json()["projects"]
    assert len(mine) == 1


ADMIN_CALLS = [
    ("POST", "/v3/projects", {"project": {"name": "new"}}),
    ("POST", "/v3/users", {"user": {"name": "new", "password": "long enough"}}),
    ("GET", "/v3/users", None),
    ("GET", "/v3/users/{admin}", None),
    ("GET", "/v3/roles", None),
    ("GET", "/v3/roles/member", None),
    ("GET", "/v3/projects/{project}/users/{admin}/roles", None),
    ("PUT", "/v3/projects/{project}/users/{ann}/roles/admin", None),
    ("DELETE", "/v3/projects/{project}/users/{admin}/roles/admin", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ADMIN_CALLS)
async def test_administration_is_for_domain_administrators(
    yard: Catalogue, method: str, path: str, body: object
) -> None:
    ann, admin = await yard.newcomer("ann"), await yard.admin()
    # A project's admin role gives no right over the domain.
    own_admin = f"/v3/projects/{ann.project_id}/users/{ann.user_id}/roles/admin"
    assert (await admin.call("PUT", own_admin)).status_code == 204
    url = path.format(admin=admin.user_id, ann=ann.user_id, project=admin.project_id)
    more = {} if body is None else {"json": body}
    refused = await ann.call(method, url, **more)
    assert refused.status_code == 403, refused.text
    _error(refused.json())
    assert (await admin.call(method, url, **more)).status_code in (200, 201, 204)
    assert (await yard.http.request(method, url, **more)).status_code == 401


async def test_administration_refuses_what_is_wrong(yard: Catalogue) -> None:
    admin, ann = await yard.admin(), await yard.newcomer("ann")
    roles = f"/v3/projects/{ann.project_id}/users/{ann.user_id}/roles"
    wrong = [
        ("POST", "/v3/projects", {"project": {"name": "p-ann"}}, 409),
        ("POST", "/v3/projects", {"project": {"name": ""}}, 400),
        ("POST", "/v3/projects", {"project": {"name": "x", "tags": ["a"]}}, 400),
        ("POST", "/v3/projects", {"project": {"name": "x", "domain_id": "other"}}, 403),
        ("POST", "/v3/users", {"user": {"name": "ann", "password": "long enough"}}, 409),
        ("POST", "/v3/users", {"user": {"name": "x", "password": "short"}}, 400),
        ("PUT", f"{roles}/owner", None, 404),
        ("PUT", f"/v3/projects/nope/users/{ann.user_id}/roles/member", None, 404),
        ("PUT", f"/v3/projects/{ann.project_id}/users/nope/roles/member", None, 404),
        ("DELETE", f"{roles}/admin", None, 404),
        ("GET", "/v3/users/%00", None, 400),
        ("GET", "/v3/users?name=a%00", None, 400),
    ]
    for method, path, body, status in wrong:
        more = {} if body is None else {"json": body}
        response = await admin.call(method, path, **more)
        assert response.status_code == status, (path, response.text)
        assert _error(response.json())[0] == status
    assert (await admin.call("DELETE", f"{roles}/member")).status_code == 204
    refused = await yard.log_in("ann", "long enough", {"project": {"id": ann.project_id}})
    assert refused.status_code == 404


async def test_discovery(yard: Catalogue) -> None:
    address = yard.settings.gateway.address
    root = (await yard.http.get("/")).json()["versions"]["values"]
    assert [version["id"] for version in root] == ["v3.14"]
    for path in ("/v3", "/v3/"):
        version = (await yard.http.get(path)).json()["version"]
        assert version["links"] == [{"rel": "self", "href": f"{address}/v3/"}]
    for path in ("/v1", "/v2", "/v1/abc", "/v2/abc/"):
        assert (await yard.http.get(path)).json()["version"]["id"] == path[1:3]


async def test_what_identity_does_not_have_is_refused_in_its_own_shape(yard: Catalogue) -> None:
    for method, path, status in (
        ("GET", "/v3/nothing", 404),
        ("GET", "/v3/users/a/b/projects", 404),
        ("PATCH", "/v3/auth/tokens", 405),
    ):
        answer = await yard.http.request(method, path)
        assert answer.status_code == status
        assert answer.json()["error"]["code"] == status
    assert "POST" in answer.headers["Allow"]
    other = await yard.http.get("/v1/a/nothing")
    assert other.json()["error_code"] == "ModelArts.0101"


async def test_keystoneauth(tmp_path: Path) -> None:
    """The client library that OpenStack tools stand on, over a real socket."""
    port = free_port()
    async with catalogue(tmp_path / "home", port=port) as yard:
        config = uvicorn.Config(
            yard.app, host="127.0.0.1", port=port, lifespan="off", log_level="warning"
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        async with asyncio.timeout(20):
            while not server.started:
                await asyncio.sleep(0.01)
        try:
            await asyncio.to_thread(_use_keystoneauth, yard)
        finally:
            server.should_exit = True
            await serving


def _use_keystoneauth(yard: Catalogue) -> None:
    known = yard.credentials

    def auth(**more: str) -> v3.Password:
        return v3.Password(
            auth_url=known.auth_url,
            username=known.user_name,
            user_domain_name=known.domain_name,
            project_domain_name=known.domain_name,
            **{"password": known.password, "project_name": known.project_name, **more},
        )

    session = ks_session.Session(auth=auth())
    assert session.get_project_id() == known.project_id
    base = f"{yard.settings.gateway.address}/v1/{known.project_id}"
    for kind in ("modelarts", "modelartsv1"):
        assert session.get_endpoint(service_type=kind, region_name=known.region) == base
    identity = session.get_endpoint_data(service_type="identity", interface="public")
    assert identity.api_version[0] == 3
    listed = session.get(
        "/models", endpoint_filter={"service_type": "modelartsv1", "interface": "public"}
    )
    assert listed.json() == {"total_count": 0, "count": 0, "models": []}
    access = session.auth.get_access(session)
    again = v3.Token(auth_url=known.auth_url, token=access.auth_token, project_id=known.project_id)
    assert ks_session.Session(auth=again).get_project_id() == known.project_id
    with pytest.raises(KsUnauthorized):
        ks_session.Session(auth=auth(password="wrong")).get_token()
    with pytest.raises(KsNotFound):
        ks_session.Session(auth=auth(project_name="nope")).get_token()
