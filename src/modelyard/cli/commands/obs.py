"""``modelyard obs``: list and copy objects of the object store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.commands.object_transfer import Store, open_store, remote
from modelyard.cli.groups import command_group
from modelyard.cli.terminal.options import HomeOption, JsonOption
from modelyard.cli.terminal.output import note, progress, show_json, show_table
from modelyard.client.failures import ClientError
from modelyard.client.names import is_remote

app = command_group("List and copy objects of the object store.")


@app.command("ls")
def list_objects(
    path: Annotated[str, typer.Argument(help="obs://bucket/prefix; default: the buckets.")] = "",
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """List buckets, or all objects below a path."""
    store = open_store(home)
    if not path or path == "obs://":
        found = [(f"obs://{bucket}/", 0) for bucket in store.buckets()]
    else:
        place = remote(path)
        found = [
            (f"obs://{place.bucket}/{entry.key}", entry.size) for entry in store.listing(place)
        ]
    if json:
        show_json({"objects": [{"path": name, "size": size} for name, size in found]})
        return
    show_table(
        ("PATH", "SIZE"),
        [(name, "" if name.endswith("/") else str(size)) for name, size in found],
        f"Nothing lies at {path or 'obs://'}.",
    )


@app.command("cp")
def copy(
    source: Annotated[str, typer.Argument(help="A file or folder, or obs://bucket/key.")],
    target: Annotated[str, typer.Argument(help="obs://bucket/key, or a file or folder.")],
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Copy a whole folder.")
    ] = False,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Copy a file or a folder into the object store, or out of it."""
    if is_remote(source) == is_remote(target):
        raise ClientError(
            "Exactly one of source and target must be an obs:// path.",
            "For example `modelyard obs cp -r ./data obs://bucket/data`.",
        )
    store = open_store(home)
    with progress(f"copying {source} to {target}"):
        copied = (
            _download(store, source, Path(target).expanduser(), recursive)
            if is_remote(source)
            else _upload(store, Path(source).expanduser(), target, recursive)
        )
    if json:
        show_json({"copied": copied})
    else:
        note(f"Copied {copied} object{'' if copied == 1 else 's'}.")


def _download(store: Store, source: str, target: Path, recursive: bool) -> int:
    if recursive:
        return store.get_folder(remote(source), target)
    store.get(remote(source), target)
    return 1


def _upload(store: Store, source: Path, target: str, recursive: bool) -> int:
    place = remote(target)
    if source.is_dir():
        if not recursive:
            raise ClientError(f"{source} is a folder.", "Copy it with --recursive.")
        return store.put_folder(source, place)
    if not source.is_file():
        raise ClientError(f"{source} does not exist.")
    into_folder = target.endswith("/") or not place.key
    store.put(source, place.child(source.name) if into_folder else place)
    return 1
