"""``modelyard model``: import, list, show and delete models."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.groups import command_group
from modelyard.cli.terminal.findings import show_findings
from modelyard.cli.terminal.options import (
    TIMEOUT_S,
    DescriptionOption,
    HomeOption,
    JsonOption,
    ModelArgument,
    TimeoutOption,
    WaitOption,
)
from modelyard.cli.terminal.output import note, progress, show_facts, show_json, show_table
from modelyard.cli.terminal.waits import Wait, wait_for_model
from modelyard.client.api_client import Client, connected
from modelyard.client.documents import Document, moment
from modelyard.client.failures import ClientError
from modelyard.client.names import find_model, is_remote, version_key

app = command_group("Import, list, show and delete models.")


@app.command("import")
def import_model(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder that holds `model/`, an obs://bucket/key path, or with --type Image the "
            "address of an image."
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Default: the folder's name.")] = None,
    version: Annotated[
        str | None, typer.Option(help="d.d.d; default: one above the newest of that name.")
    ] = None,
    model_type: Annotated[
        str | None, typer.Option("--type", help="Default: `model_type` of config.json.")
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(help="See the engine list of the API; with --type Custom, an image."),
    ] = None,
    description: DescriptionOption = None,
    policy: Annotated[
        str | None,
        typer.Option(
            "--dependency-policy",
            help="Pins that cannot be installed: relaxed (use a version near it) or exact (fail).",
        ),
    ] = None,
    wait: WaitOption = True,
    timeout: TimeoutOption = TIMEOUT_S,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Import a model package or an image, and wait until it can be deployed."""
    folder = None if is_remote(source) or is_image(source, model_type) else package_folder(source)
    name = name or default_name(source, folder)
    with connected(home) as client, progress(f"importing {name}") as shown:
        version = version or next_version(client, name)
        location = source
        if folder is not None:
            # Only an upload needs the object store, whose modules belong to the server.
            from modelyard.cli.commands.object_transfer import BUCKET, upload_package

            model_type = model_type or config_type(folder)
            shown.update(f"uploading {folder} to obs://{BUCKET}/")
            location = upload_package(home, client.project_id, folder, name, version)
        if model_type is None:
            raise ClientError(
                f"The model's type is not known: {source} is not a local folder.",
                "Name it with --type, for example --type PyTorch.",
            )
        body = {
            "model_name": name,
            "model_version": version,
            "model_type": model_type,
            "source_location": location,
            "runtime": runtime,
            "description": description,
            "dependency_policy": policy,
        }
        given = {key: value for key, value in body.items() if value is not None}
        answer = client.project("POST", "/models", given)
        model_id = answer.text("model_id")
        done = (
            wait_for_model(client, model_id, Wait(shown.update, timeout))
            if wait
            else Document({**given, **answer.raw})
        )
    _show_model(done, json)


def package_folder(source: str) -> Path:
    """Return the folder that holds ``model/``; ``source`` may be either of the two."""
    folder = Path(source).expanduser().resolve()
    if folder.name == "model" and (folder / "config.json").is_file():
        return folder.parent
    if folder.is_file():
        raise ClientError(
            f"{folder} is a file, not a folder.",
            "Unpack archives first, and name the folder that holds `model/`.",
        )
    if not folder.is_dir():
        raise ClientError(
            f"The folder {folder} does not exist.", "Name a folder that holds `model/config.json`."
        )
    if not (folder / "model" / "config.json").is_file():
        raise ClientError(
            f"{folder} holds no model/config.json, so it is no model package.",
            "Put config.json, customize_service.py and the weights into its folder `model/`.",
        )
    return folder


def is_image(source: str, model_type: str | None) -> bool:
    """Whether ``source`` is an image's address; packages of type Image are folders."""
    return (model_type or "").lower() == "image" and not Path(source).expanduser().is_dir()


def default_name(source: str, folder: Path | None) -> str:
    """Return the last part of the path, in the characters that a model name may have."""
    last = source.rstrip("/").rsplit("/", 1)[-1]
    # Of an image's address without its tag or digest.
    plain = folder.name if folder else last.partition("@")[0].partition(":")[0]
    kept = "".join(char if char.isalnum() or char in "-_" else "-" for char in plain)
    return kept.lstrip("-_0123456789")[:64] or "model"


def config_type(folder: Path) -> str:
    """``model_type`` of the package's config.json. Raises ``ClientError``."""
    path = folder / "model" / "config.json"
    try:
        found = Document(json_module.loads(path.read_bytes())).text("model_type")
    except (OSError, ValueError) as error:
        raise ClientError(f"{path} is not valid JSON: {error}.", "Correct it.") from error
    if not found:
        raise ClientError(f"{path} has no `model_type`.", "Add it, or give --type.")
    return found


def next_version(client: Client, name: str) -> str:
    """``0.0.1``, or the version behind the newest one of that name."""
    query: dict[str, str | int] = {"model_name": name, "exact_match": "true"}
    versions = [
        version_key(model.text("model_version"))
        for model in client.pages("/models", "models", query)
        if model.text("model_name") == name
    ]
    if not versions:
        return "0.0.1"
    major, minor, patch = (*max(versions), 0, 0, 0)[:3]
    number = major * 10_000 + minor * 100 + patch + 1
    return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"


@app.command("list")
def list_models(
    name: Annotated[str | None, typer.Option(help="Part of the name.")] = None,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """List the project's models, newest first."""
    query: dict[str, str | int] = {} if name is None else {"model_name": name}
    with connected(home) as client:
        models = list(client.pages("/models", "models", query))
    if json:
        show_json({"count": len(models), "models": [model.raw for model in models]})
        return
    show_table(
        ("NAME", "VERSION", "ID", "TYPE", "STATUS", "SIZE", "CREATED"),
        [
            (
                model.text("model_name"),
                model.text("model_version"),
                model.text("model_id"),
                model.text("model_type"),
                model.text("model_status"),
                _size(model.number("model_size")),
                moment(model.number("create_at")),
            )
            for model in models
        ],
        "No models. `modelyard model import FOLDER` adds one.",
    )


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GB"


@app.command()
def show(
    model: ModelArgument,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show one model version."""
    with connected(home) as client:
        model_id = find_model(client, model).text("model_id")
        _show_model(client.project("GET", f"/models/{model_id}"), json)


def _show_model(model: Document, json: bool) -> None:
    if json:
        show_json(model.raw)
        return
    environment = model.part("environment")
    show_facts(
        {
            "name": model.text("model_name"),
            "version": model.text("model_version"),
            "id": model.text("model_id"),
            "type": model.text("model_type"),
            "status": model.text("model_status"),
            "runtime": model.text("runtime"),
            "source": model.text("source_location"),
            "size": _size(model.number("model_size")) if "model_size" in model else "",
            "created": moment(model.number("create_at")) if "create_at" in model else "",
            "description": model.text("description"),
            "environment": _environment(environment),
            "failed": model.text("failed_reason"),
        }
    )
    show_findings(model.parts("findings"))


def _environment(environment: Document) -> str:
    """Describe the environment of a model; empty before it is known."""
    if not environment.raw:
        return ""
    python, digest = environment.text("python"), environment.text("digest")
    if not digest:
        return f"the platform's own (Python {python})"
    policy, count = environment.text("policy"), len(environment.texts("lock"))
    what = "1 distribution" if count == 1 else f"{count} distributions"
    size = f", {_size(environment.number('size'))}" if "size" in environment else ""
    return f"{digest[:12]} (Python {python}, {what}{size}, {policy})"


@app.command()
def delete(
    model: ModelArgument,
    cascade: Annotated[
        bool, typer.Option("--cascade", help="All versions of the same name.")
    ] = False,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Delete a model version that no service uses."""
    with connected(home) as client:
        model_id = find_model(client, model).text("model_id")
        query: dict[str, str | int] = {"cascade": "true" if cascade else "false"}
        answer = client.project("DELETE", f"/models/{model_id}", query=query)
    if json:
        show_json(answer.raw)
    failed = answer.parts("delete_failed_list")
    if failed:
        raise ClientError(
            f"{failed[0].text('error_code')}: {failed[0].text('error_msg')}",
            "Take the model out of its services, or delete them, and try again.",
        )
    if not json:
        note(f"Deleted {model}.")
