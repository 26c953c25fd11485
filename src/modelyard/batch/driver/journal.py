"""What a run remembers: its files, and how far each of them is (SQLite, one writer).

Every commit is synced (``synchronous=FULL``): what it says of the spool or the destination must not
outlive them, and "delivered" lets the spool be removed. Commits are few:
``group_commit.py`` gathers them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from modelyard.batch.driver.inputs import Input
from modelyard.objects.paths import ObjectPath

_TABLES = """
CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS found (
    seq INTEGER PRIMARY KEY, source TEXT, bucket TEXT, key TEXT, size INTEGER, mark TEXT,
    fault TEXT, UNIQUE (bucket, key)
);
CREATE TABLE IF NOT EXISTS file (
    n INTEGER PRIMARY KEY, source TEXT, bucket TEXT, key TEXT, fault TEXT, relative TEXT,
    former INTEGER DEFAULT 0, base TEXT, size INTEGER, mark TEXT, state INTEGER DEFAULT 0,
    rows INTEGER DEFAULT 0, offset INTEGER DEFAULT 0, spool INTEGER DEFAULT 0,
    quarantine INTEGER DEFAULT 0, ok INTEGER DEFAULT 0, failed INTEGER DEFAULT 0,
    error TEXT DEFAULT ''
);
"""
_FILL = """
INSERT INTO file (source, bucket, key, size, mark, fault, base, relative)
SELECT source, bucket, key, size, mark, fault, base(key), base(key) FROM found ORDER BY {order};
CREATE INDEX file_base ON file (base);
UPDATE file SET relative = {sub}
    WHERE base IN (SELECT base FROM file GROUP BY base HAVING count(*) > 1);
DROP INDEX file_base;
DELETE FROM found;
"""
_SEVERAL_BUCKETS = "SELECT min(bucket) != max(bucket) FROM found WHERE bucket != ''"
# An empty object that stands for a folder: there is something below its name ('0' follows '/').
_MARKERS = """
DELETE FROM found WHERE size = 0 AND EXISTS (
    SELECT 1 FROM found AS inner WHERE inner.bucket = found.bucket
    AND inner.key > found.key || '/' AND inner.key < found.key || '0')
"""
_ADOPT = """
INSERT INTO file (n, source, bucket, key, fault, relative, base, size, mark, former)
SELECT n, source, bucket, key, CASE bucket WHEN '' THEN fault ELSE '' END, relative, base,
    CASE WHEN state = 2 AND error = '' THEN size END,
    CASE WHEN state = 2 AND error = '' THEN mark ELSE '' END,
    CASE WHEN state < 2 OR error != '' THEN 0 WHEN failed > 0 THEN 2 ELSE 1 END
FROM former.file
"""


class Stage(IntEnum):
    """``OPEN``: rows are missing. ``COMPUTED``: its spool is whole. ``DONE``: it is settled."""

    OPEN = 0
    COMPUTED = 1
    DONE = 2


class Former(IntEnum):
    """What a retry does with a file: all of it again, take its result over, or its failed rows."""

    AGAIN = 0
    KEEP = 1
    MEND = 2


@dataclass(frozen=True, slots=True)
class File:
    """One input. ``n``: its place in the order, from 1. ``fault``: why it cannot be read at all.

    ``relative``: its result's name. The cursor: ``rows`` of which ``ok`` and ``failed``, ``offset``
    in the input where the next begins, bytes of ``spool`` and ``quarantine``. ``error``: why the
    file as a whole has failed. ``size`` and ``mark``: None and "" until it has been looked at.
    """

    n: int
    source: str
    path: ObjectPath
    fault: str
    relative: str
    former: Former
    size: int | None
    mark: str
    stage: Stage = Stage.OPEN
    rows: int = 0
    offset: int = 0
    spool: int = 0
    quarantine: int = 0
    ok: int = 0
    failed: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all files: what ``Progress`` counts."""

    files: int = 0
    done: int = 0
    failed: int = 0
    rows: int = 0
    rows_failed: int = 0
    bytes: int = 0
    bytes_done: int = 0


class BadFormer(Exception):
    """The run to be retried has no journal, or never listed its input."""


_COLUMNS = (
    "n, source, bucket, key, fault, relative, former, size, mark, state, rows, offset, spool, "
    "quarantine, ok, failed, error"
)


class Journal:
    """One run's journal, made where there is none. For one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(
            path.as_uri(), uri=True, isolation_level=None, check_same_thread=False
        )
        self._db.create_function("base", 1, _base, deterministic=True)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_TABLES)

    def close(self) -> None:
        self._db.close()

    # Listing -----------------------------------------------------------------------------------

    @property
    def listed(self) -> bool:
        """Whether all of the input is here."""
        return self._db.execute("SELECT 1 FROM note WHERE name = 'listed'").fetchone() is not None

    def forget_listing(self) -> None:
        """Begin the listing anew."""
        self._db.execute("DELETE FROM found")

    def add(self, page: Sequence[Input]) -> None:
        """Some of what was found; a second mention of a file is none."""
        rows = [(i.source, i.path.bucket, i.path.key, i.size, i.mark, i.fault) for i in page]
        self._all(
            "INSERT OR IGNORE INTO found (source, bucket, key, size, mark, fault) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )

    def settle_listing(self, prefix: str | None) -> int:
        """Put what was found in order, at once; returns how many files there are.

        ``prefix``: of the folder, whose order is that of keys; None: the manifest's own order. Base
        names that several files share give way to their sub-paths (inference.md §2.6), below the
        bucket's name where there are several.
        """
        self._db.execute("BEGIN IMMEDIATE")
        if prefix is not None:
            self._db.execute(_MARKERS)
        skip = len(f"{prefix}/") if prefix else 0
        sub = f"substr(key, {skip + 1})"
        if self._db.execute(
            "SELECT min(bucket) != max(bucket) FROM found WHERE bucket != ''"
        ).fetchone()[0]:
            sub = "bucket || '/' || key"
        order = "seq" if prefix is None else "key"
        for statement in _FILL.format(order=order, sub=sub).split(";"):
            self._db.execute(statement)
        self._db.execute("INSERT INTO note VALUES ('listed', '')")
        self._db.execute("COMMIT")
        return self.totals().files

    def adopt(self, former: Path) -> int:
        """Take the files of the run whose journal this is; returns how many. ``BadFormer``."""
        if not former.is_file():
            raise BadFormer
        self._db.execute("ATTACH DATABASE ? AS former", (f"{former.as_uri()}?mode=ro",))
        try:
            if not self._db.execute("SELECT 1 FROM former.note WHERE name='listed'").fetchone():
                raise BadFormer
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(_ADOPT)
            self._db.execute("INSERT INTO note VALUES ('listed', '')")
            self._db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise BadFormer from error
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._db.execute("DETACH DATABASE former")
        return self.totals().files

    # Work --------------------------------------------------------------------------------------

    def save(self, files: Iterable[File]) -> None:
        """Where these files are now; all of them at once."""
        rows = [
            (
                *(f.stage, f.rows, f.offset, f.spool, f.quarantine, f.ok, f.failed),
                *(f.error, f.size, f.mark, f.n),
            )
            for f in files
        ]
        self._all(
            "UPDATE file SET state=?, rows=?, offset=?, spool=?, quarantine=?, ok=?, failed=?, "
            "error=?, size=?, mark=? WHERE n=?",
            rows,
        )

    def _all(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(statement, rows)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def unfinished(self, after: int, most: int) -> list[File]:
        """The next files behind number ``after`` that are not done."""
        return self._files("n > ? AND state < 2 ORDER BY n LIMIT ?", after, most)

    def files(self, after: int, most: int) -> list[File]:
        """The next files behind number ``after``."""
        return self._files("n > ? ORDER BY n LIMIT ?", after, most)

    def troubled(self, after: int, most: int) -> list[File]:
        """The next files behind number ``after`` that failed, or some of whose rows did."""
        return self._files("n > ? AND (failed > 0 OR error != '') ORDER BY n LIMIT ?", after, most)

    def _files(self, where: str, *values: int) -> list[File]:
        return list(_read(self._db.execute(f"SELECT {_COLUMNS} FROM file WHERE {where}", values)))  # noqa: S608

    def totals(self) -> Totals:
        """How far the run is."""
        row = self._db.execute(
            "SELECT count(*), sum(state = 2), sum(state = 2 AND error != ''), sum(rows), "
            "sum(failed), sum(size), sum(CASE state WHEN 0 THEN min(offset, size) ELSE size END) "
            "FROM file"
        ).fetchone()
        return Totals(*(int(value or 0) for value in row))


def _base(key: str) -> str:
    return key.rpartition("/")[2]


def _read(rows: Iterable[tuple[object, ...]]) -> Iterator[File]:
    for row in rows:
        n, source, bucket, key, fault, relative, former, size, mark, stage, *cursor, error = row
        counts = [int(str(value)) for value in cursor]
        yield File(
            int(str(n)),
            str(source),
            ObjectPath(str(bucket), str(key)),
            str(fault),
            str(relative),
            Former(int(str(former))),
            None if size is None else int(str(size)),
            str(mark),
            Stage(int(str(stage))),
            counts[0],
            counts[1],
            counts[2],
            counts[3],
            counts[4],
            counts[5],
            str(error),
        )
