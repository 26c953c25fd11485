"""``modelyard predict``: one prediction of a service."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.terminal.options import HomeOption, JsonOption, ServiceArgument
from modelyard.cli.terminal.output import note, say, show_json
from modelyard.client.api_client import Client, Exchange, Upload, connected
from modelyard.client.failures import ClientError
from modelyard.client.names import find_service, read_envs, read_json

VERSION_HEADER = "x-modelyard-model-version"


def predict(
    service: ServiceArgument,
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="The JSON body, or @FILE; @- reads stdin.")
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", help="FIELD=PATH to upload; repeat it for more."),
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option("--field", help="NAME=value beside the files; repeat it for more."),
    ] = None,
    path: Annotated[str, typer.Option(help="The url of the model's api, if it is not `/`.")] = "",
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Send one request to a running service and print the answer."""
    if (data is None) == (not file and not field):
        raise ClientError(
            "Give the request either as --data JSON or as --file FIELD=PATH.",
            """For example --data '{"data": {"req_data": [{"sepal_length": 5.1}]}}'.""",
        )
    with connected(home) as client:
        address = _address(client, service, path)
        if data is not None:
            source = "@/dev/stdin" if data == "@-" else data
            raw = json_module.dumps(read_json(source, "--data")).encode()
            answer = client.predict(address, raw=raw)
        else:
            uploads = [_upload(text) for text in file or ()]
            answer = client.predict(address, files=uploads, fields=read_envs(field or ()))
    _show(answer, json)


def _address(client: Client, service: str, path: str) -> str:
    found = find_service(client, service)
    status = found.text("status")
    if status not in ("running", "concerning"):
        raise ClientError(
            f"The service {service} is {status}, so it serves no predictions.",
            f"Start it with `modelyard service start {service}`."
            if status == "stopped"
            else f"`modelyard service events {service}` shows why.",
        )
    address = found.text("access_address") or (
        f"{client.address}/v1/infers/{found.text('service_id')}"
    )
    return address + ("" if path in ("", "/") else "/" + path.lstrip("/"))


def _upload(text: str) -> Upload:
    field, equals, name = text.partition("=")
    path = Path(name.removeprefix("@"))
    if not field or not equals:
        raise ClientError(f"{text!r} does not name a file to upload.", "Write FIELD=PATH.")
    try:
        return field, (path.name, path.read_bytes())
    except OSError as error:
        raise ClientError(f"{path} cannot be read: {error.strerror}.") from error


def _show(answer: Exchange, json: bool) -> None:
    if isinstance(answer.answer, str) and not json:
        say(answer.answer)
    else:
        show_json(answer.answer)
    version = answer.headers.get(VERSION_HEADER)
    if version and not json:
        note(f"(answered by version {version})")
