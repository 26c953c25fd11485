"""``modelyard iam``: projects and users, by the identity API (iam.md §1, §2)."""

from __future__ import annotations

import secrets
from typing import Annotated

import typer

from modelyard.cli.groups import command_group
from modelyard.cli.terminal.options import HomeOption, JsonOption
from modelyard.cli.terminal.output import note, show_facts, show_json, show_table
from modelyard.client.api_client import Client, connected
from modelyard.client.documents import Document
from modelyard.client.failures import ClientError

app = command_group("Projects and users (for administrators).")
add = command_group("Add a project or a user.")
app.add_typer(add, name="add")


@add.command("project")
def add_project(
    name: Annotated[str, typer.Argument(help="The new project's name.")],
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Add a project, which has its own models and services."""
    with connected(home) as client:
        answer = client.call("POST", "/v3/projects", {"project": {"name": name}})
    project = answer.part("project")
    if json:
        show_json(project.raw)
    else:
        show_facts({"project": project.text("name"), "id": project.text("id")})


@add.command("user")
def add_user(
    name: Annotated[str, typer.Argument(help="The new user's name.")],
    project: Annotated[str, typer.Option(help="The project to work in: name or id.")],
    password: Annotated[
        str | None, typer.Option(help="Default: a generated one, which is shown once.")
    ] = None,
    role: Annotated[str, typer.Option(help="`member` or `admin`.")] = "member",
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Add a user with a role in a project."""
    with connected(home) as client:
        project_id = _find_project(client, project).text("id")
        role_id = _find_role(client, role).text("id")
        chosen = password or secrets.token_urlsafe(18)
        wanted = {"name": name, "password": chosen}
        user = client.call("POST", "/v3/users", {"user": wanted}).part("user")
        _assign(client, project_id, user.text("id"), role_id)
    found = {
        "id": user.text("id"),
        "name": user.text("name"),
        "project_id": project_id,
        "role": role,
        **({} if password else {"password": chosen}),
    }
    if json:
        show_json(found)
        return
    show_facts(found)
    if not password:
        note("The password is not shown again.")


@app.command()
def grant(
    user_id: Annotated[str, typer.Argument(help="The user's id.")],
    project: Annotated[str, typer.Argument(help="Name or id.")],
    role: Annotated[str, typer.Option(help="`member` or `admin`.")] = "member",
    home: HomeOption = None,
) -> None:
    """Give a user a role in one more project."""
    with connected(home) as client:
        project_id = _find_project(client, project).text("id")
        _assign(client, project_id, user_id, _find_role(client, role).text("id"))
    note(f"User {user_id} is now {role} in {project}.")


@app.command()
def projects(
    every: Annotated[
        bool, typer.Option("--all", help="All projects of the domain (for administrators).")
    ] = False,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """List the projects that these credentials can work in."""
    with connected(home) as client:
        found = (
            _domain_projects(client)
            if every
            else client.call("GET", "/v3/projects").parts("projects")
        )
    if json:
        show_json({"projects": [project.raw for project in found]})
        return
    show_table(
        ("NAME", "ID"),
        [(project.text("name"), project.text("id")) for project in found],
        "No projects.",
    )


def _assign(client: Client, project_id: str, user_id: str, role_id: str) -> None:
    client.call("PUT", f"/v3/projects/{project_id}/users/{user_id}/roles/{role_id}")


def _domain_projects(client: Client) -> list[Document]:
    """All projects of the caller's domain, which only an administrator may see."""
    domains = client.call("GET", "/v3/domains").parts("domains")
    if not domains:
        raise ClientError("These credentials belong to no domain.")
    query = {"domain_id": domains[0].text("id")}
    return client.call("GET", "/v3/projects", query=query).parts("projects")


def _find_project(client: Client, name_or_id: str) -> Document:
    remedy = "`modelyard iam add project NAME` adds one."
    return _pick(_domain_projects(client), "project", name_or_id, remedy)


def _find_role(client: Client, name_or_id: str) -> Document:
    return _pick(client.call("GET", "/v3/roles").parts("roles"), "role", name_or_id)


def _pick(found: list[Document], kind: str, name_or_id: str, remedy: str = "") -> Document:
    for item in found:
        if name_or_id in (item.text("name"), item.text("id")):
            return item
    known = ", ".join(item.text("name") for item in found) or "none"
    raise ClientError(f"There is no {kind} {name_or_id!r} (known: {known}).", remedy)


@app.command("rotate-keys")
def rotate_keys(json: JsonOption = False, home: HomeOption = None) -> None:
    """Sign tokens with a new key; earlier tokens stay valid until they expire."""
    with connected(home) as client:
        answer = client.call("POST", "/v3/signing-keys")
    if json:
        show_json(answer.raw)
    else:
        note(f"{len(answer.parts('keys'))} keys verify tokens; new ones are signed with the last.")
