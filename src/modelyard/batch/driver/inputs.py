"""What a run reads: its folder's or its manifest's files, judged before any work (§2.2 to §2.5)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from modelyard.batch.formats import csv_records
from modelyard.batch.formats.manifest import BadManifest, ManifestReader, Source
from modelyard.batch.formats.mapping import BadRule, RowError, Rule, parse_rule
from modelyard.batch.formats.result_names import result_folder
from modelyard.domain.batch.run import RunSpec
from modelyard.domain.service.batch_job import MANIFEST
from modelyard.errors import InvalidRequest, Problem, refuse
from modelyard.objects.local import Entry
from modelyard.objects.paths import ObjectPath, parse_path
from modelyard.objects.store import Objects, missing

_PIECE = 1024 * 1024
_MANIFEST_PIECE = 64 * 1024
"""Bytes; the lines of one piece are read at once, also by a control plane that takes a look."""
_SAMPLED = 256 * 1024
_SOURCE, _DESTINATION, _RULE = "src_path", "dest_path", "mapping_rule"


@dataclass(frozen=True, slots=True)
class Input:
    """One file to read. ``source``: as the manifests tell it. ``size`` in bytes and ``mark``: as
    listed, None and "" where only a manifest names it. ``fault``: why it cannot be read.
    """

    source: str
    path: ObjectPath
    size: int | None = None
    mark: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Survey:
    """The input at a glance. ``files`` and ``bytes``: of what was looked at, all of it where
    ``complete``; a manifest's files count with their bytes only where they were sampled.
    ``problems``: ``field`` is ``src_path``, ``dest_path`` or ``mapping_rule``. ``requests``: the
    first that would be sent.
    """

    files: int = 0
    bytes: int = 0
    complete: bool = True
    problems: list[Problem] = field(default_factory=list)
    requests: list[dict[str, object]] = field(default_factory=list)


def source_of(spec: RunSpec) -> ObjectPath:
    """The folder or manifest to read. Raises ``InvalidRequest`` 3572, 3573."""
    return parse_path(spec.source, _SOURCE)


def destination_of(spec: RunSpec) -> ObjectPath:
    """The folder to write to. Raises ``InvalidRequest`` 3572, 3573."""
    return parse_path(spec.destination, _DESTINATION)


def check_places(spec: RunSpec) -> list[Problem]:
    """What is wrong with source and destination by their names alone."""
    try:
        source, destination = source_of(spec), destination_of(spec)
    except InvalidRequest as error:
        return list(error.problems)
    if spec.source_type == MANIFEST:
        if source.key.endswith(".manifest"):
            return []
        return [_problem(f"{source} is no .manifest file", "Name one manifest file.")]
    if source.bucket != destination.bucket:
        return []
    inner, outer = f"{destination.key}/".lstrip("/"), f"{source.key}/".lstrip("/")
    if inner.startswith(outer):
        where = "is the source itself" if inner == outer else f"lies inside the source {source}"
        reason = f"{destination} {where}: the results would be read as input"
    else:
        return []
    return [Problem(_DESTINATION, reason, "Choose a folder beside the source.", code="3572")]


def name_fault(spec: RunSpec, key: str) -> Problem | None:
    """Why a file of this name has no place in the input; None when it has."""
    if spec.mapping_type != "csv" or key.lower().endswith(".csv"):
        return None
    return _problem(
        f"{key[-200:]!r} is no .csv file, and mapping_type csv reads nothing else",
        "Remove it, or choose a folder that holds .csv files only.",
    )


async def check(objects: Objects, spec: RunSpec) -> None:
    """Refuse what can be refused without reading. Raises ``ModelyardError``."""
    problems = check_places(spec)
    if problems:
        raise refuse(problems)
    destination = destination_of(spec)
    try:
        # Whether there is anything does not matter, but whether one may look.
        async for _ in objects.pages(destination.child(result_folder(spec.task_id))):
            break
    except InvalidRequest as error:
        raise refuse([_of(error, _DESTINATION)]) from error


async def listing(objects: Objects, spec: RunSpec) -> AsyncIterator[list[Input]]:
    """Everything to read, some at a time: a manifest in its order, a folder in none.

    Raises ``ModelyardError`` where the run cannot begin: 3551 for what is not there, 3567 for what
    the store denies, 3572 for a file that is no CSV or a manifest that is none.
    """
    source = source_of(spec)
    found = _manifest(objects, source) if spec.source_type == MANIFEST else _folder(objects, source)
    try:
        async for page in found:
            for one in page:
                fault = name_fault(spec, one.path.key)
                # The empty objects that stand for folders have any name.
                if fault is not None and one.size != 0:
                    raise refuse([fault])
            yield page
    except BadManifest as error:
        raise refuse([_not_a_manifest(source, error)]) from None
    except InvalidRequest as error:
        raise refuse([_of(error, _SOURCE)]) from error


async def _folder(objects: Objects, source: ObjectPath) -> AsyncIterator[list[Input]]:
    empty = True
    async for page in objects.pages(source):
        empty = empty and not page
        yield [_input(source.bucket, entry) for entry in page]
    if empty:
        raise missing(source)


def _input(bucket: str, entry: Entry) -> Input:
    # A local name may be no text at all.
    key = entry.key.encode(errors="backslashreplace").decode()
    oddity = entry.oddity or (None if key == entry.key else "a name that is not valid text")
    path = ObjectPath(bucket, key)
    fault = f"Download file failed. It is {oddity}." if oddity else ""
    return Input(str(path), path, entry.size, entry.mark, fault)


async def _manifest(objects: Objects, source: ObjectPath) -> AsyncIterator[list[Input]]:
    entry = await objects.look(source)
    if entry is None:
        raise missing(source)
    reader, at = ManifestReader(), 0
    while at < entry.size:
        stop = min(at + _MANIFEST_PIECE, entry.size)
        piece = await objects.part(source, at, stop, entry.mark)
        at += len(piece)
        yield [_named(one) for one in reader.feed(piece)]
    yield [_named(one) for one in reader.finish()]


def _named(source: Source) -> Input:
    fault = f"Download file failed. {source.fault}" if source.fault else ""
    return Input(source.text, source.path, fault=fault)


# At a glance -------------------------------------------------------------------------------------


async def survey(objects: Objects, spec: RunSpec, most: int = 1000, samples: int = 3) -> Survey:
    """Look at the first ``most`` files and at ``samples`` requests that would be sent.

    Raises ``Unavailable`` when the object store does not answer; whatever else is wrong is a
    problem of the survey.
    """
    problems = check_places(spec)
    rule: Rule | None = None
    if spec.mapping_type == "csv":
        try:
            rule = parse_rule(spec.mapping_rule)
        except BadRule as error:
            problems += [Problem(_RULE, one, "", code="3037") for one in error.problems]
    if problems:
        return Survey(complete=False, problems=problems)
    found: list[Input] = []
    complete = True
    try:
        await check(objects, spec)
        async for page in listing(objects, spec):
            found += page
            if len(found) > most:
                complete = False
                break
    except InvalidRequest as error:
        return Survey(len(found), _bytes(found), False, list(error.problems))
    found = without_markers(found)[:most]
    if not found:
        problems = list(nothing_in(source_of(spec)).problems)
    requests = await _requests(objects, spec, rule, found, samples)
    return Survey(len(found), _bytes(found), complete, problems, requests)


def without_markers(found: list[Input]) -> list[Input]:
    """Without the empty objects that stand for folders."""
    folders = {
        (one.path.bucket, one.path.key[:at])
        for one in found
        for at, char in enumerate(one.path.key)
        if char == "/"
    }
    return [one for one in found if one.size != 0 or (one.path.bucket, one.path.key) not in folders]


def _bytes(found: Iterable[Input]) -> int:
    return sum(one.size or 0 for one in found)


async def _requests(
    objects: Objects, spec: RunSpec, rule: Rule | None, found: list[Input], samples: int
) -> list[dict[str, object]]:
    ordered = found if spec.source_type == MANIFEST else sorted(found, key=lambda one: one.source)
    requests: list[dict[str, object]] = []
    for one in ordered[:samples]:
        try:
            more = await _sample(objects, spec, rule, one, samples - len(requests))
        except InvalidRequest as error:
            more = [{"source": one.source, "error": error.message}]
        requests += more
        if len(requests) >= samples:
            break
    return requests


async def _sample(
    objects: Objects, spec: RunSpec, rule: Rule | None, one: Input, samples: int
) -> list[dict[str, object]]:
    entry = await objects.look(one.path)
    if entry is None:
        raise missing(one.path)
    told: dict[str, object] = {"source": one.source, "path": spec.path}
    told["content_type"] = spec.content_type
    if rule is None:
        name = one.path.key.rpartition("/")[2]
        return [{**told, "field": spec.field, "filename": name, "size": entry.size}]
    content = await objects.part(one.path, 0, min(_SAMPLED, entry.size), entry.mark)
    cutter = csv_records.Cutter()
    records = cutter.feed(content)
    if len(content) == entry.size:
        records += cutter.finish()
    requests = []
    for number, row in enumerate(csv_records.parse([raw for _, raw in records[:samples]]), 1):
        try:
            if isinstance(row, RowError):
                raise row
            requests.append({**told, "row": number, "body": rule.build(row)})
        except RowError as error:
            requests.append({**told, "row": number, "error": str(error)})
    return requests


def nothing_in(source: ObjectPath) -> InvalidRequest:
    """The error for a folder or manifest without any file."""
    return refuse([_problem(f"{source} holds no file", "Put files there.", "3551")])


def _problem(reason: str, remedy: str, code: str = "3572") -> Problem:
    return Problem(_SOURCE, reason, remedy, code=code)


def _of(error: InvalidRequest, where: str) -> Problem:
    if error.problems:
        return error.problems[0]
    reason, _, remedy = error.message.partition(". ")
    return Problem(where, reason.removesuffix("."), remedy, code=error.code)


def _not_a_manifest(source: ObjectPath, error: BadManifest) -> Problem:
    return _problem(
        f"{source} is no manifest: {error}", 'Each line must be {"source": "obs://bucket/key"}.'
    )
