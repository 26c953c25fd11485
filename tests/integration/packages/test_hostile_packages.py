"""Packages made to leave their folder, to fill the disk or to keep the importer busy (S4).

No archive is ever opened, so what an archive could carry arrives as a folder of the object store.
"""

from __future__ import annotations

import os
import socket
import subprocess
import unicodedata
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from catalogue_support import Caller, Catalogue, catalogue

from modelyard.cli.commands.object_transfer import Store, remote
from modelyard.client.failures import ClientError
from modelyard.objects import local
from modelyard.objects.local import Entry
from modelyard.objects.transfer import GIGABYTE, Limits, plan_transfer

MOST_FILES = 60


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Catalogue]:
    async with catalogue(tmp_path / "home", limits=Limits(files=MOST_FILES)) as running:
        yield running
    # Too deep for Python, and so for pytest's own tidying.
    subprocess.run(["rm", "-rf", running.settings.objects], check=True)


@pytest.fixture
async def me(yard: Catalogue) -> Caller:
    return await yard.admin()


def _fifo(model: Path) -> None:
    os.mkfifo(model / "pipe")


def _socket(model: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = os.open(model, os.O_RDONLY)
        try:
            one.bind(f"/proc/self/fd/{here}/s")
        finally:
            os.close(here)


def _device(model: Path) -> None:
    try:
        os.mknod(model / "null", 0o20666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("NOT TESTED: only root makes devices")


def _deep(levels: int) -> Callable[[Path], None]:
    def make(model: Path) -> None:
        at = os.open(model, os.O_RDONLY)
        for _ in range(levels):
            os.mkdir("d", dir_fd=at)
            below = os.open("d", os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = below
        os.close(os.open("file", os.O_CREAT, dir_fd=at))
        os.close(at)

    return make


def _many(count: int, what: Callable[[Path], Any]) -> Callable[[Path], None]:
    return lambda model: [what(model / f"n{number}") for number in range(count)] and None


def _sparse(size: int) -> Callable[[Path], None]:
    def make(model: Path) -> None:
        with (model / "weights.pth").open("wb") as file:
            file.truncate(size)

    return make


def _accents(model: Path) -> None:
    for form in ("NFC", "NFD"):
        (model / unicodedata.normalize(form, "é")).touch()


def _link(target: str) -> Callable[[Path], None]:
    return lambda model: (model / "link").symlink_to(target)


def _named(*names: str | bytes) -> Callable[[Path], None]:
    def make(model: Path) -> None:
        for name in names:
            Path(os.fsdecode(os.path.join(os.fsencode(model), os.fsencode(name)))).touch()

    return make


def _file_at(name: str, content: bytes) -> Callable[[Path], None]:
    def make(model: Path) -> None:
        (model / name).write_bytes(content)

    return make


def _config_is_folder(model: Path) -> None:
    (model / "config.json").unlink()
    (model / "config.json").mkdir()
    (model / "config.json" / "x").touch()


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "link out": (_link("/etc/passwd"), "'link' is a symbolic link"),
    "link to a folder": (_link("/etc"), "'link' is a symbolic link"),
    "link to its own folder": (_link("."), "'link' is a symbolic link"),
    "dangling link": (_link("/nowhere"), "'link' is a symbolic link"),
    "link inside": (_link("config.json"), "'link' is a symbolic link"),
    "pipe": (_fifo, "'pipe' is not a plain file"),
    "socket": (_socket, "'s' is not a plain file"),
    "device": (_device, "'null' is not a plain file"),
    "newline": (_named("a\nb"), "control character"),
    "escape": (_named("a\x1b[2Jb"), "control character"),
    "not utf-8": (_named(b"\xff\xfe"), "not valid text"),
    "case": (_named("Readme", "README"), "differ in case only"),
    "accents": (_accents, "how an accent is written"),
    "70 deep": (_deep(70), "64 folders deep"),
    "300 deep": (_deep(300), "128 folders deep"),
    "3000 deep": (_deep(3000), "128 folders deep"),
    "many files": (_many(1000, Path.touch), "more than"),
    "many folders": (_many(1000, Path.mkdir), "folder tree of more than 183 names"),
    "sparse": (_sparse(21 * GIGABYTE), "larger than 20 GB"),
    "huge config": (_file_at("config.json", b" " * (2 << 20)), "larger than 1048576 bytes"),
    "deep json": (_file_at("config.json", b"[" * 200_000), "nested too deeply"),
    "wide json": (_file_at("config.json", b'{"a":' * 500 + b"1" + b"}" * 500), "too deeply"),
    "config is a folder": (_config_is_folder, "model/config.json is missing"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_it_is_refused_with_its_reason_and_leaves_nothing(
    yard: Catalogue, me: Caller, name: str
) -> None:
    spoil, reason = HOSTILE[name]
    source = yard.package("bucket/hostile")
    spoil(Path(yard.settings.objects) / "bucket/hostile/model")
    model = await me.settled(await me.import_model(**_body(source)))
    assert model["model_status"] == "failed"
    assert reason in model["failed_reason"]
    assert list(yard.settings.layout.packages_dir.glob("*/*")) == []
    # The importer is none the worse for it.
    good = yard.package("bucket/good")
    after = await me.settled(await me.import_model(**_body(good, model_version="0.0.2")))
    assert after["model_status"] == "published"


def _body(source: str, **more: str) -> dict[str, str]:
    return {
        "model_name": "hostile",
        "model_version": "0.0.1",
        "model_type": "PyTorch",
        "source_location": source,
        **more,
    }


@pytest.mark.parametrize("name", ["package.zip", "package.tar.gz", "42.ZIP"])
async def test_an_archive_is_never_opened(yard: Catalogue, me: Caller, name: str) -> None:
    yard.write(f"bucket/{name}", b"PK\x03\x04")
    model = await me.settled(await me.import_model(**_body(f"obs://bucket/{name}")))
    assert model["model_status"] == "failed"
    assert "is a file and no folder" in model["failed_reason"]
    assert "archives are not opened" in model["failed_reason"]


async def test_a_pipe_as_the_script_does_not_block(yard: Catalogue, me: Caller) -> None:
    source = yard.package("bucket/good")
    os.mkfifo(Path(yard.settings.objects) / "bucket/customize_service.py")
    body = _body(source, execution_code="obs://bucket/customize_service.py")
    model = await me.settled(await me.import_model(**body))
    assert (model["model_status"], "does not exist" in model["failed_reason"]) == ("failed", True)


async def test_a_hard_link_becomes_a_file_of_its_own(
    yard: Catalogue, me: Caller, tmp_path: Path
) -> None:
    source = yard.package("bucket/linked")
    other = tmp_path / "other"
    other.write_bytes(b"weights")
    os.link(other, Path(yard.settings.objects) / "bucket/linked/model/more.bin")
    model_id = await me.import_model(**_body(source))
    assert (await me.settled(model_id))["model_status"] == "published"
    copy = yard.settings.layout.packages_dir / me.project_id / model_id / "model/more.bin"
    assert copy.read_bytes() == b"weights"
    assert copy.stat().st_ino != other.stat().st_ino


def test_a_million_objects_are_given_up_early() -> None:
    seen = 0

    def entries() -> Any:
        nonlocal seen
        for seen in range(1_000_000):
            yield Entry(f"p/{seen}", 0, 0)

    plan = plan_transfer(entries(), "p", Limits(), "source_location")
    assert "more than 20000 files" in plan.problems[0].reason
    assert seen == 20_000


def test_a_walk_looks_at_no_more_names_than_it_may(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"a{number}" / "b").mkdir(parents=True)
    assert list(local.walk(tmp_path, "")) == []
    (found,) = local.walk(tmp_path, "", 399)
    assert found.oddity == "in a folder tree of more than 399 names"
    assert list(local.walk(tmp_path, "", 400)) == []


def test_an_upload_hands_over_nothing_from_outside(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "objects"))
    (tmp_path / "id_rsa").write_text("secret")
    package = tmp_path / "package"
    (package / "inner").mkdir(parents=True)
    (package / "a.txt").write_text("a")
    (package / "inner" / "same.txt").symlink_to("../a.txt")
    assert store.put_folder(package, remote("obs://bucket/one")) == 2
    assert (tmp_path / "objects/bucket/one/inner/same.txt").read_text() == "a"
    for number, (spoil, words) in enumerate(
        (
            (lambda at: at.symlink_to(tmp_path / "id_rsa"), "leads to no file of its folder"),
            (lambda at: at.symlink_to(tmp_path), "leads to no file of its folder"),
            (lambda at: at.symlink_to(package), "leads to no file of its folder"),
            (lambda at: at.symlink_to("nowhere"), "leads to no file of its folder"),
            (os.mkfifo, "is no plain file"),
        )
    ):
        odd = package / "inner" / "odd"
        spoil(odd)
        with pytest.raises(ClientError, match=words):
            store.put_folder(package, remote(f"obs://bucket/refused-{number}"))
        assert not (tmp_path / f"objects/bucket/refused-{number}").exists()
        odd.unlink()
