"""The object store: a local folder ``<root>/<bucket>/<key>``, or S3 behind the same calls."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from modelyard.errors import InvalidRequest, ModelyardError, Unavailable, refuse
from modelyard.objects import local
from modelyard.objects.local import Entry
from modelyard.objects.paths import ObjectPath
from modelyard.objects.transfer import Limits, TransferPlan, plan_transfer

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import RetryConfig, S3Config

_RETRIES: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}
_CHUNK = 4 * 1024 * 1024
_PAGE = 1000
_UPLOADS = 4
"""Parts of one upload on their way at a time, each of ``_CHUNK`` bytes."""
_NAMES_A_FILE = 3
"""Folders count too, also empty ones: a tree of nothing else must end somewhere."""


_STATUS = re.compile(r"status code: (\d{3})")
_NO_OBJECT = (errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EINVAL)
_NOT_PLAIN = "{} leads through a symbolic link, or is no plain file."


class Changed(InvalidRequest):
    """An object is no longer what it was."""

    code = "3567"


@dataclass(frozen=True, slots=True)
class TreeReport:
    """What a copy brought: number of files, bytes."""

    files: int
    size: int


class Objects:
    """Reads and writes objects below ``root``.

    ``root`` is a folder's path, ``http(s)://host`` of an S3 service (its buckets are ours), or
    ``s3://bucket/prefix`` (our buckets are folders below the prefix). S3 takes its credentials from
    the standard ``AWS_*`` variables of ``environ``.

    Every call raises ``InvalidRequest`` 3551 for what does not exist, 3567 when the store refuses,
    ``Unavailable`` when it does not answer.
    """

    def __init__(self, root: str, environ: Mapping[str, str] | None = None) -> None:
        self._root = root
        self._environ = os.environ if environ is None else environ
        self._folder = None if "://" in root else Path(root).expanduser().absolute()
        self._stores: dict[str, S3Store] = {}

    async def exists(self, path: ObjectPath) -> bool:
        """Whether this very object is there (a folder is none)."""
        return await self.info(path) is not None

    async def info(self, path: ObjectPath) -> Entry | None:
        """Size and time of one object; None when there is none."""
        if not await self._reachable(path):
            return None
        try:
            meta = await obstore.head_async(self._store(path.bucket), path.key)
        except FileNotFoundError:
            return None
        except (BaseError, ValueError) as error:
            raise _translated(error, path) from error
        return _entry(meta)

    async def list(
        self, prefix: ObjectPath, limit: int = 10_000, most: int | None = None
    ) -> list[Entry]:
        """The first ``limit`` objects below a folder, at any depth, by key.

        In a local folder links and devices are listed too, marked as what they are, and at most
        ``most`` names are looked at (``local.walk``).
        """
        if self._folder is not None:
            bucket = self._folder / prefix.bucket
            return await asyncio.to_thread(
                lambda: list(islice(local.walk(bucket, prefix.key, most), limit))
            )
        found: list[Entry] = []
        try:
            async for entry in self._listed(prefix):
                found.append(entry)
                if len(found) == limit:
                    break
        except (BaseError, ValueError) as error:
            raise _translated(error, prefix) from error
        return found

    async def read(self, path: ObjectPath, limit: int) -> bytes:
        """The content of one object of at most ``limit`` bytes, else ``InvalidRequest``."""
        info = await self.info(path)
        if info is None:
            raise missing(path)
        if info.size > limit:
            raise InvalidRequest(f"{path} is larger than {limit} bytes.", code="3567")
        try:
            result = await obstore.get_async(self._store(path.bucket), path.key)
            return bytes(await result.bytes_async())
        except FileNotFoundError:
            raise missing(path) from None
        except (BaseError, ValueError) as error:
            raise _translated(error, path) from error

    async def put(self, path: ObjectPath, content: bytes | Path, *, durable: bool = False) -> None:
        """Write one object, whole or not at all; a path's file is streamed.

        ``durable``: when this returns, a power cut does not undo it.
        """
        if self._folder is not None:
            if not await self._reachable(path):
                raise InvalidRequest(_NOT_PLAIN.format(path), code="3567")
            await self._put_file(self._folder, path, content, durable=durable)
            return
        try:
            await obstore.put_async(
                self._store(path.bucket),
                path.key,
                content,
                chunk_size=2 * _CHUNK,
                max_concurrency=_UPLOADS,
            )
        except (BaseError, ValueError) as error:
            raise _translated(error, path) from error

    async def _put_file(
        self, folder: Path, path: ObjectPath, content: bytes | Path, *, durable: bool
    ) -> None:
        try:
            await asyncio.to_thread(
                local.put, folder, path.bucket, path.key, content, durable=durable
            )
        except OSError as error:
            raise _of_disk(error, path) from error

    async def pages(self, prefix: ObjectPath) -> AsyncIterator[Sequence[Entry]]:
        """Everything below a folder, at any depth, some at a time: in no order, without a bound.

        In a local folder links and devices are told too, marked as what they are; on S3 the empty
        objects that stand for folders are left out.
        """
        if self._folder is None:
            try:
                store = self._store(prefix.bucket)
                async for metas in obstore.list(store, prefix.key or None, chunk_size=_PAGE):
                    yield [
                        _entry(meta)
                        for meta in metas
                        if meta["size"] or await _is_there(store, meta)
                    ]
            except (BaseError, ValueError, FileNotFoundError) as error:
                raise _translated(error, prefix) from error
            return
        found = local.pages(self._folder / prefix.bucket, prefix.key, _PAGE)
        try:
            while page := await asyncio.to_thread(next, found, None):
                yield page
        except OSError as error:
            raise _of_disk(error, prefix) from error

    async def look(self, path: ObjectPath) -> Entry | None:
        """One object as it is now, with its ``mark``; None when there is none."""
        if self._folder is None:
            try:
                return _entry(await obstore.head_async(self._store(path.bucket), path.key))
            except FileNotFoundError:
                return None
            except (BaseError, ValueError) as error:
                raise _translated(error, path) from error
        try:
            return await asyncio.to_thread(local.look, self._folder / path.bucket, path.key)
        except OSError as error:
            raise _of_disk(error, path) from error

    async def part(self, path: ObjectPath, start: int, stop: int, mark: str) -> bytes:
        """Bytes ``start`` to ``stop`` (exclusive) of one object.

        Raises also ``Changed`` when its ``mark`` is not this one any more; "" is any.
        """
        if stop <= start:
            return b""
        entry, content = await self._part(path, start, stop)
        if mark and entry.mark != mark:
            raise Changed(f"{path} changed while it was being read.")
        return content

    async def _part(self, path: ObjectPath, start: int, stop: int) -> tuple[Entry, bytes]:
        if self._folder is not None:
            bucket = self._folder / path.bucket
            try:
                found = await asyncio.to_thread(local.read_part, bucket, path.key, start, stop)
            except OSError as error:
                raise _of_disk(error, path) from error
            if found is None:
                raise missing(path)
            return found
        try:
            result = await obstore.get_async(
                self._store(path.bucket), path.key, options={"range": (start, stop)}
            )
            return _entry(result.meta), bytes(await result.bytes_async())
        except (BaseError, ValueError, FileNotFoundError) as error:
            raise _translated(error, path) from error

    def sweep(self) -> None:
        """Remove what writers that were killed have left; in a local folder only."""
        if self._folder is not None:
            local.sweep(self._folder)

    async def plan_tree(
        self, prefix: ObjectPath, limits: Limits, field: str
    ) -> TransferPlan | None:
        """What ``copy_tree`` would do, None when there is nothing below ``prefix``.

        ``field`` is named in the plan's problems.
        """
        entries = await self.list(prefix, limits.files + 1, _NAMES_A_FILE * (limits.files + 1))
        return plan_transfer(entries, prefix.key, limits, field) if entries else None

    async def copy_tree(self, prefix: ObjectPath, folder: Path, plan: TransferPlan) -> TreeReport:
        """Copy what ``plan`` says into ``folder``, which must be new; bounded by the plan's sizes.

        Raises also ``OSError`` when the disk is full or a file cannot be written.
        """
        if plan.problems:
            raise refuse(plan.problems)
        await asyncio.to_thread(_make_room, folder, plan)
        for copy in plan.copies:
            target = folder / copy.target
            await self._download(ObjectPath(prefix.bucket, copy.entry.key), target, copy.entry.size)
        return TreeReport(len(plan.copies), plan.size)

    async def _download(self, path: ObjectPath, target: Path, size: int) -> None:
        if not await self._reachable(path):
            raise InvalidRequest(_NOT_PLAIN.format(path), code="3017")
        written = 0
        try:
            result = await obstore.get_async(self._store(path.bucket), path.key)
            with target.open("xb") as file:
                async for chunk in result.stream(min_chunk_size=_CHUNK):
                    written += len(chunk)
                    if written > size:
                        break
                    await asyncio.to_thread(file.write, chunk)
        except FileNotFoundError:
            raise missing(path) from None
        except (BaseError, ValueError) as error:
            raise _translated(error, path) from error
        if written != size:
            raise InvalidRequest(
                f"{path} changed while it was being copied. Import again.", code="3567"
            )

    async def _listed(self, prefix: ObjectPath) -> AsyncIterator[Entry]:
        stream = obstore.list(self._store(prefix.bucket), prefix.key or None)
        async for chunk in stream:
            for meta in chunk:
                yield _entry(meta)

    async def _reachable(self, path: ObjectPath) -> bool:
        if self._folder is None:
            return True
        bucket = self._folder / path.bucket
        return await asyncio.to_thread(local.way_is_plain, bucket, path.key)

    def _store(self, bucket: str) -> LocalStore | S3Store:
        if self._folder is not None:
            if not (self._folder / bucket).is_dir():
                raise FileNotFoundError(bucket)
            return LocalStore(self._folder / bucket)
        if bucket not in self._stores:
            # Kept, and with it its connections.
            self._stores[bucket] = self._s3(bucket)
        return self._stores[bucket]

    def _s3(self, bucket: str) -> S3Store:
        access_key = self._environ.get("AWS_ACCESS_KEY_ID")
        secret_key = self._environ.get("AWS_SECRET_ACCESS_KEY")
        if not (access_key and secret_key):
            # Without them obstore would ask the cloud's metadata address for credentials.
            raise Unavailable(
                "The object store needs credentials. Set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY for the platform and start it again.",
                code="1003",
            )
        token = self._environ.get("AWS_SESSION_TOKEN")
        region = self._environ.get("AWS_REGION") or self._environ.get("AWS_DEFAULT_REGION")
        url = urlsplit(self._root)
        inside = url.scheme == "s3" and url.netloc
        prefix = "/".join(part for part in (url.path.strip("/"), bucket) if part)
        endpoint = None if url.scheme == "s3" else self._root.rstrip("/")
        config: S3Config = {
            "access_key_id": access_key,
            "secret_access_key": secret_key,
            "region": region or "us-east-1",
            "virtual_hosted_style_request": False,
        }
        if token:
            config["session_token"] = token
        if endpoint:
            config["endpoint"] = endpoint
        return S3Store(
            url.netloc if inside else bucket,
            prefix=prefix if inside else None,
            config=config,
            client_options={"allow_http": url.scheme == "http"},
            retry_config=_RETRIES,
        )


async def _is_there(store: LocalStore | S3Store, meta: ObjectMeta) -> bool:
    """Whether an object has this name: one that stands for a folder has a slash at its end, and is
    listed without.
    """
    try:
        await obstore.head_async(store, meta["path"])
    except FileNotFoundError:
        return False
    return True


def _entry(meta: ObjectMeta) -> Entry:
    modified = int(meta["last_modified"].timestamp() * 1000)
    mark = (meta["e_tag"] or str(modified)).strip('"')
    return Entry(meta["path"], meta["size"], modified, mark=f"{meta['size']:x}-{mark}")


def _of_disk(error: OSError, path: ObjectPath) -> ModelyardError:
    """What went wrong with a local folder as the store's answer."""
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return InvalidRequest(f"The object store denies access to {path}.", code="3567")
    if error.errno in _NO_OBJECT:
        return InvalidRequest(f"{path} cannot be an object here: {error.strerror}.", code="3572")
    return Unavailable(f"The object store failed on {path} ({error.strerror}).", code="1002")


def _make_room(folder: Path, plan: TransferPlan) -> None:
    folder.mkdir(parents=True, mode=0o700)
    free = shutil.disk_usage(folder).free
    if plan.size > free:
        raise OSError(f"{plan.size} bytes are needed, only {free} are free")
    for parent in {(folder / copy.target).parent for copy in plan.copies}:
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)


def missing(path: ObjectPath) -> InvalidRequest:
    """The error for an object or folder that is not there."""
    return InvalidRequest(
        f"{path} does not exist. Upload it first, or correct the path.", code="3551"
    )


def _translated(error: Exception, path: ObjectPath) -> ModelyardError:
    name = type(error).__name__
    # A listing's refusal has no class of its own.
    status = _STATUS.search(str(error)) if name == "GenericError" else None
    code = status.group(1) if status else ""
    if isinstance(error, FileNotFoundError) or code == "404":
        return missing(path)
    if code == "416":
        return Changed(f"{path} changed while it was being read.")
    if name in ("PermissionDeniedError", "UnauthenticatedError") or code in ("401", "403"):
        return InvalidRequest(f"The object store denies access to {path}.", code="3567")
    if isinstance(error, ValueError) or name == "InvalidPathError":
        return InvalidRequest(f"{path} is not a valid object path.", code="3572")
    return Unavailable(f"The object store failed on {path} ({name}).", code="1002")
