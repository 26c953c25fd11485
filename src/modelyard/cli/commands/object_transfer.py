"""Copy between local files and the platform's object store.

The store has no HTTP interface: these commands run where the platform does.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import Coroutine, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from modelyard.cli.lifecycle.settings import started_settings
from modelyard.client.failures import ClientError
from modelyard.errors import ModelyardError
from modelyard.objects.local import Entry
from modelyard.objects.paths import ObjectPath, parse_path
from modelyard.objects.store import Objects
from modelyard.objects.transfer import Limits, plan_transfer
from modelyard.packages.layout import NOT_PACKAGED

T = TypeVar("T")

BUCKET = "models"
"""Bucket of uploaded packages: ``obs://models/<project_id>/<name>/<version>-<random>/``."""

_LIMITS = Limits(files=1_000_000, size=1 << 50)


def remote(path: str) -> ObjectPath:
    """The bucket and key of ``obs://bucket/key``. Raises ``ClientError``."""
    try:
        return parse_path(path, "path")
    except ModelyardError as error:
        raise ClientError(error.message) from error


class Store:
    """The platform's object store, call by call. Every call raises ``ClientError``."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._objects = Objects(root)

    def buckets(self) -> list[str]:
        """The names of all buckets of a local store; those of an S3 endpoint are not listed."""
        if "://" in self.root:
            raise ClientError(
                "An S3 endpoint does not list its buckets here.", "Name one: obs://bucket/."
            )
        root = Path(self.root)
        if not root.is_dir():
            return []
        # What begins with a dot is no bucket but what is being written.
        return sorted(path.name for path in root.iterdir() if not path.name.startswith("."))

    def listing(self, path: ObjectPath) -> list[Entry]:
        """The object itself, or all below it."""
        if path.key:
            single = _done(self._objects.info(path))
            if single is not None:
                return [single]
        return _done(self._objects.list(path, _LIMITS.files))

    def put(self, source: Path, target: ObjectPath) -> None:
        try:
            _done(self._objects.put(target, source))
        except OSError as error:
            raise ClientError(f"{source} cannot be copied: {error}.") from error

    def put_folder(self, source: Path, target: ObjectPath, leave_out: Sequence[str] = ()) -> int:
        """Upload every file below ``source``; returns how many.

        Names in ``leave_out`` are skipped. Nothing is uploaded from a folder without files, or one
        that holds a link out of it, a pipe or a device.
        """
        found = list(islice(_files(source, leave_out), _LIMITS.files + 1))
        if not found:
            raise ClientError(f"The folder {source} holds no files.")
        if len(found) > _LIMITS.files:
            raise ClientError(f"The folder {source} holds more than {_LIMITS.files} files.")
        for path in found:
            self.put(path, target.child(path.relative_to(source).as_posix()))
        return len(found)

    def get(self, source: ObjectPath, target: Path) -> None:
        """Download one object to the file ``target``, or into the folder ``target``."""
        info = _done(self._objects.info(source))
        if info is None:
            raise ClientError(f"There is no object {source}.", "`modelyard obs ls` shows all.")
        folder, _, name = source.key.rpartition("/")
        into = target / name if target.is_dir() else target
        self._fetch(ObjectPath(source.bucket, folder), [info], {name: into})

    def get_folder(self, source: ObjectPath, target: Path) -> int:
        """Download everything below ``source`` into the folder ``target``; returns how many."""
        entries = _done(self._objects.list(source, _LIMITS.files))
        if not entries:
            raise ClientError(f"Nothing lies at {source}.", "`modelyard obs ls` shows all.")
        skip = len(source.key) + 1 if source.key else 0
        self._fetch(
            source, entries, {entry.key[skip:]: target / entry.key[skip:] for entry in entries}
        )
        return len(entries)

    def _fetch(self, source: ObjectPath, entries: list[Entry], into: dict[str, Path]) -> None:
        # First aside: a download that breaks off leaves nothing half written.
        plan = plan_transfer(entries, source.key, _LIMITS, "path")
        beside = next(iter(into.values())).absolute().parent
        while not beside.is_dir():
            beside = beside.parent
        try:
            with tempfile.TemporaryDirectory(prefix=".modelyard-", dir=beside) as aside:
                folder = Path(aside) / "tree"
                _done(self._objects.copy_tree(source, folder, plan))
                for copy in plan.copies:
                    target = into[copy.target]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.move(folder / copy.target, target)
        except OSError as error:
            raise ClientError(f"{source} cannot be copied: {error}.") from error


def _done(call: Coroutine[object, object, T]) -> T:
    try:
        return asyncio.run(call)
    except ModelyardError as error:
        raise ClientError(error.message) from error


def _files(folder: Path, leave_out: Sequence[str]) -> Iterator[Path]:
    """Yield the files below ``folder``; raises ``ClientError`` for pipes, devices, links out of it.

    A link to a file of the folder counts as that file. Any other link is refused: it may lead to a
    file that was not meant to be uploaded, or round in a circle.
    """
    top = folder.resolve()
    for at, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if one not in leave_out)
        for name in sorted(set(names) | {one for one in folders if (Path(at) / one).is_symlink()}):
            if name in leave_out:
                continue
            path = Path(at) / name
            if path.is_symlink() and not (path.is_file() and _inside(path, top)):
                raise ClientError(
                    f"{path} is a link that leads to no file of its folder.",
                    "Put a copy in its place.",
                )
            if not path.is_file():
                raise ClientError(f"{path} is no plain file.", "Remove it.")
            yield path


def _inside(path: Path, top: Path) -> bool:
    return path.resolve().is_relative_to(top)


def open_store(home: Path | None) -> Store:
    """The object store of the platform of ``home``: as it was started, else as settings say."""
    return Store(started_settings(home).objects)


def upload_package(
    home: Path | None, project_id: str, folder: Path, name: str, version: str
) -> str:
    """Upload the ``model/`` of a package; returns its ``source_location``.

    Each upload gets a new folder, so that it cannot change another project's package of that name,
    nor an earlier import.
    """
    location = f"obs://{BUCKET}/{project_id}/{name}/{version}-{secrets.token_hex(4)}/"
    open_store(home).put_folder(folder / "model", remote(f"{location}model"), NOT_PACKAGED)
    return location
