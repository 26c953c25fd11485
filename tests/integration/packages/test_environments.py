"""Models with dependencies get environments of their own, by the real uv (models.md §3.4, §9)."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from catalogue_support import Caller, Catalogue, catalogue
from sqlalchemy import select

from modelyard.clock import SystemClock
from modelyard.packages.environments import choosing, shared
from modelyard.packages.environments.installer import Installer
from modelyard.packages.environments.renewal import renew
from modelyard.packages.environments.space import files_below, size
from modelyard.settings import Settings
from modelyard.steps import Step
from modelyard.store.tables.model import Model
from wheels import write_source, write_wheel


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Catalogue]:
    async with catalogue(tmp_path / "home", environment_grace=0) as running:
        yield running


@pytest.fixture
async def me(yard: Catalogue) -> Caller:
    return await yard.admin()


@pytest.fixture
def index(yard: Catalogue) -> Path:
    """The folder that distributions come from."""
    folder = Path(yard.settings.packages.package_index)
    write_wheel(folder, "tiny", "1.0")
    write_wheel(folder, "tiny", "2.0")
    write_wheel(folder, "user-of-tiny", "1.0", requires=["tiny>=2"])
    return folder


def pip(*names: str, **pins: str) -> list[dict[str, object]]:
    """``dependencies`` of those names, and of those pins ("==1.0")."""
    signs = {"==": "EXACT", ">=": "ATLEAST", "<=": "ATMOST"}
    packages: list[dict[str, str]] = [{"package_name": name} for name in names]
    for name, pin in pins.items():
        packages.append(
            {
                "package_name": name.replace("_", "-"),
                "package_version": pin[2:],
                "restraint": signs[pin[:2]],
            }
        )
    return [{"installer": "pip", "packages": packages}]


async def imported(
    yard: Catalogue, me: Caller, name: str = "m", **config: object
) -> dict[str, Any]:
    """A package with that config.json, imported; the model once that is over."""
    version = config.pop("version", "0.0.1")
    source = yard.package(f"bucket/{name}", **config)
    model_id = await me.import_model(
        model_name=name, model_version=version, model_type="PyTorch", source_location=source
    )
    return await me.settled(model_id, 60)


async def events(me: Caller, model: dict[str, Any]) -> str:
    found = (await me.call("GET", me.url(f"/{model['model_id']}/events?order=asc"))).json()
    return "\n".join(f"{e['event_type']}: {e['event_info']}" for e in found["events"])


def python_of(yard: Catalogue, model: dict[str, Any]) -> str:
    return yard.settings.layout.environment_python(model["environment"]["digest"])


def says(python: str, code: str) -> str:
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def folders(yard: Catalogue) -> list[str]:
    return sorted(
        folder.name
        for folder in yard.settings.layout.environments_dir.iterdir()
        if folder.name != ".cache"
    )


async def test_a_package_gets_what_it_pins(yard: Catalogue, me: Caller, index: Path) -> None:
    model = await imported(yard, me, dependencies=pip(tiny="==1.0"))
    assert model["model_status"] == "published", model["failed_reason"]
    environment = model["environment"]
    assert (environment["policy"], environment["lock"]) == ("relaxed", ["tiny==1.0"])
    assert environment["relaxations"] == []
    assert says(python_of(yard, model), "import tiny; print(tiny.VERSION)") == "1.0"
    # Nothing of the platform's own is in it.
    missing = "import importlib.util as u; print(u.find_spec('sqlalchemy'))"
    assert says(python_of(yard, model), missing) == "None"
    told = await events(me, model)
    assert "building its environment (relaxed): tiny==1.0" in told
    assert "1 distributions resolved" in told
    assert told.splitlines()[-1] == "normal: [m 0.0.1] imported"
    folder = yard.settings.layout.environments_dir / environment["digest"]
    assert (folder / "lock.txt").read_text() == "tiny==1.0\n"
    assert list((folder / "venv").rglob("tiny.*.pyc")), "a start would compile it each time"


async def test_no_dependencies_no_environment(yard: Catalogue, me: Caller) -> None:
    model = await imported(yard, me)
    assert model["environment"]["digest"] == ""
    met = await imported(yard, me, "met", dependencies=pip("httpx", "Rich"))
    assert (met["model_status"], met["environment"]["digest"]) == ("published", "")
    assert folders(yard) == []
    assert "building" not in await events(me, met)


async def test_equal_sets_share_one_environment(
    yard: Catalogue, me: Caller, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    original = Installer.make

    async def counted(self: Installer, venv: Path) -> None:
        made.append(venv)
        await original(self, venv)

    monkeypatch.setattr(Installer, "make", counted)
    both = [
        pip(tiny=">=1.0", user_of_tiny="==1.0"),
        [*pip(user_of_tiny="==1.0"), *pip(Tiny=">=1.0")],
    ]
    models = await asyncio.gather(
        *(imported(yard, me, f"m{n}", dependencies=both[n % 2]) for n in range(4))
    )
    assert {model["model_status"] for model in models} == {"published"}
    assert len({model["environment"]["digest"] for model in models}) == 1
    assert len(made) == 1
    later = await imported(yard, me, "later", dependencies=both[0])
    assert len(made) == 1
    assert "shared with an earlier model" in await events(me, later)
    other = await imported(yard, me, "other", dependencies=pip(tiny="==1.0"))
    assert other["environment"]["digest"] != later["environment"]["digest"]
    assert len(folders(yard)) == 2


async def test_a_pin_of_another_age_is_relaxed_and_told(
    yard: Catalogue, me: Caller, index: Path
) -> None:
    write_wheel(index, "oldest", "0.1", tag="cp36-cp36m-manylinux1_x86_64")
    write_wheel(index, "oldest", "3.1")
    model = await imported(yard, me, dependencies=pip(oldest="==0.1", tiny="<=1.5"))
    assert model["model_status"] == "published", model["failed_reason"]
    assert model["environment"]["lock"] == ["oldest==3.1", "tiny==1.0"]
    [told] = model["environment"]["relaxations"]
    assert told.startswith("oldest==0.1 cannot be had here (")
    assert told.endswith("oldest 3.1 is used")
    # Behind those of the doctor.
    finding = model["findings"][-1]
    assert (finding["kind"], finding["asked"]) == ("relaxed", "oldest==0.1")
    assert f"normal: [m 0.0.1] warning: {told}." in await events(me, model)


async def test_exact_fails_with_the_installers_reason(
    yard: Catalogue, me: Caller, index: Path
) -> None:
    dependencies = pip(tiny="==7.0")
    strict = await imported(yard, me, dependencies=dependencies, dependency_policy="exact")
    assert strict["model_status"] == "building_failed"
    assert "there is no version of tiny==7.0" in strict["failed_reason"]
    assert "abnormal: [m 0.0.1] import failed: The dependencies cannot" in await events(me, strict)
    assert folders(yard) == []
    assert not (yard.settings.layout.packages_dir / me.project_id / strict["model_id"]).exists()
    exact = await imported(
        yard, me, "good", dependencies=pip(tiny="==2.0"), dependency_policy="exact"
    )
    assert (exact["model_status"], exact["environment"]["policy"]) == ("published", "exact")
    source = yard.package("bucket/over", dependencies=dependencies)
    model_id = await me.import_model(
        model_name="over",
        model_version="0.0.1",
        model_type="PyTorch",
        source_location=source,
        dependency_policy="exact",
    )
    assert (await me.settled(model_id))["model_status"] == "building_failed"


async def test_what_cannot_be_had_at_all_fails_the_import(
    yard: Catalogue, me: Caller, index: Path
) -> None:
    model = await imported(yard, me, dependencies=pip("never-made", tiny="==1.0"))
    assert model["model_status"] == "building_failed"
    assert "never-made was not found" in model["failed_reason"]


async def test_pins_that_contradict_are_installed_as_asked(
    yard: Catalogue, me: Caller, index: Path
) -> None:
    model = await imported(yard, me, dependencies=pip(tiny="==1.0", user_of_tiny="==1.0"))
    assert model["model_status"] == "published", model["failed_reason"]
    assert model["environment"]["lock"] == ["tiny==1.0", "user-of-tiny==1.0"]
    assert "contradict each other" in model["environment"]["relaxations"][0]


async def test_nothing_of_a_distribution_runs_at_import(
    yard: Catalogue, me: Caller, index: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "it-ran"
    touch = f"import pathlib; pathlib.Path({str(mark)!r}).touch()\n"
    write_wheel(index, "rogue", "1.0", {"rogue.pth": touch, "rogue.py": touch})
    write_source(index, "rogue_source", "1.0", {"setup.py": touch})
    model = await imported(yard, me, dependencies=pip("rogue", tiny="==1.0"))
    assert model["model_status"] == "published", model["failed_reason"]
    failed = await imported(yard, me, "source", dependencies=pip("rogue_source"))
    assert failed["model_status"] == "building_failed"
    assert not mark.exists()
    says(python_of(yard, model), "pass")
    assert mark.exists(), "in an instance it would have run"


BACKEND = """
import base64, os, zipfile


def build_wheel(folder, settings=None, metadata=None):
    name, info = "made-1.0-py3-none-any.whl", "made-1.0.dist-info"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as archive:
        archive.writestr("made.py", f"SEEN = {dict(os.environ)!r}")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: made\\nVersion: 1.0\\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\n")
        archive.writestr(f"{info}/RECORD", "")
    return name
"""


async def test_sources_are_built_only_where_the_operator_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELYARD_ADMIN_PASSWORD", "canary-password")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-key")
    build = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    files = {"pyproject.toml": build, "backend.py": BACKEND}
    for allowed in (False, True):
        async with catalogue(tmp_path / str(allowed), source_builds=allowed) as yard:
            me = await yard.admin()
            write_source(Path(yard.settings.packages.package_index), "made", "1.0", files)
            model = await imported(yard, me, dependencies=pip(made="==1.0"))
            assert model["model_status"] == ("published" if allowed else "building_failed"), model[
                "failed_reason"
            ]
            if not allowed:
                assert "MODELYARD_SOURCE_BUILDS" in model["failed_reason"]
                continue
            assert "canary" not in says(python_of(yard, model), "import made; print(made.SEEN)")


async def test_wheels_of_the_package_itself(yard: Catalogue, me: Caller, index: Path) -> None:
    def dependency(name: str) -> list[dict[str, object]]:
        return pip(f"/home/mind/model/{name}")

    inside = Path(yard.settings.objects) / "bucket" / "m" / "model" / "wheels"
    wheel = write_wheel(inside, "mine", "1.5", requires=["tiny"])
    model = await imported(yard, me, dependencies=dependency(f"wheels/{wheel.name}"))
    assert model["model_status"] == "published", model["failed_reason"]
    assert model["environment"]["lock"] == [f"mine @ {wheel.name}", "tiny==2.0"]
    assert says(python_of(yard, model), "import mine; print(mine.VERSION)") == "1.5"
    absent = await imported(
        yard, me, "absent", dependencies=dependency("nothing-1.0-py3-none-any.whl")
    )
    assert absent["model_status"] == "failed"
    assert (
        "/home/mind/model/nothing-1.0-py3-none-any.whl is not in the package"
        in (absent["failed_reason"])
    )


async def test_a_wheel_for_another_python_is_stood_in_for(
    yard: Catalogue, me: Caller, index: Path
) -> None:
    inside = Path(yard.settings.objects) / "bucket" / "m" / "model"
    write_wheel(index, "h5py", "4.0")
    wheel = write_wheel(inside, "h5py", "0.5", tag="cp36-cp36m-linux_x86_64")
    model = await imported(yard, me, dependencies=pip(f"/home/mind/model/{wheel.name}"))
    assert model["model_status"] == "published", model["failed_reason"]
    assert model["environment"]["lock"] == ["h5py==4.0"]
    assert wheel.name in model["environment"]["relaxations"][0]
    # Whoever knows a private name may have put something under it into a public index.
    inside = Path(yard.settings.objects) / "bucket" / "private" / "model"
    wheel = write_wheel(inside, "tiny", "0.5", tag="cp36-cp36m-linux_x86_64")
    private = await imported(
        yard, me, "private", dependencies=pip(f"/home/mind/model/{wheel.name}")
    )
    assert private["model_status"] == "building_failed"
    assert f"{wheel.name}: Because" in private["failed_reason"]
    assert str(yard.settings.home) not in private["failed_reason"]


async def test_the_engines_own_distributions_come_along(
    yard: Catalogue, me: Caller, index: Path
) -> None:
    write_wheel(index, "torch", "9.1")
    yard.write("bucket/m/model/net/parts.py", "import torch.nn as nn, os\nfrom PIL import Image\n")
    model = await imported(
        yard,
        me,
        dependencies=pip(tiny="==1.0"),
        runtime="pytorch_1.8.0-cuda_10.2-py_3.7-ubuntu_18.04-x86_64",
    )
    assert model["model_status"] == "published", model["failed_reason"]
    assert model["environment"]["lock"] == ["tiny==1.0", "torch==9.1"]
    told = model["environment"]["relaxations"]
    assert [text.partition(" cannot")[0] for text in told] == [
        "torch==1.8.0",
        "pillow, which its script imports,",
    ]


async def test_unused_environments_are_collected(yard: Catalogue, me: Caller, index: Path) -> None:
    kept = await imported(yard, me, "kept", dependencies=pip(tiny="==1.0"))
    gone = await imported(yard, me, "gone", dependencies=pip(tiny="==2.0"))
    await me.call("DELETE", me.url(f"/{gone['model_id']}"))
    with yard.environments.held(gone["environment"]["digest"]):
        await yard.environments.collect()
    assert len(folders(yard)) == 2, "an import holds it"
    await yard.environments.collect()
    assert folders(yard) == [kept["environment"]["digest"]]


async def test_grace_begins_when_the_last_model_goes(tmp_path: Path) -> None:
    async with catalogue(tmp_path / "home", environment_grace=60) as yard:
        me = await yard.admin()
        write_wheel(Path(yard.settings.packages.package_index), "tiny", "1.0")
        model = await imported(yard, me, dependencies=pip(tiny="==1.0"))
        await me.call("DELETE", me.url(f"/{model['model_id']}"))
        await yard.environments.collect()
        await yard.environments.collect()
        [digest] = folders(yard)
        mark = yard.settings.layout.environments_dir / digest / "unused"
        mark.write_text(str(int(mark.read_text()) - 61_000))
        await yard.environments.collect()
        assert folders(yard) == []


async def test_an_engine_that_the_platform_lacks_is_installed(
    yard: Catalogue, me: Caller, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "find_spec", lambda name: None)
    graph = Path(yard.settings.objects) / "bucket" / "graph" / "model"

    async def graphs(name: str) -> dict[str, Any]:
        graph.mkdir(parents=True, exist_ok=True)
        (graph / "net.onnx").write_bytes(b"graph")
        config = {"model_type": "ONNX", "model_algorithm": "nlp"}
        (graph / "config.json").write_text(json.dumps(config))
        model_id = await me.import_model(
            model_name=name,
            model_version="0.0.1",
            model_type="ONNX",
            source_location="obs://bucket/graph/",
        )
        return await me.settled(model_id, 60)

    none = await graphs("without")
    assert none["model_status"] == "building_failed"
    assert "The model needs onnxruntime, which is neither" in none["failed_reason"]
    assert "MODELYARD_PACKAGE_INDEX" in none["failed_reason"]
    write_wheel(index, "onnxruntime", "1.20.0", requires=["tiny"])
    model = await graphs("with")
    assert model["model_status"] == "published", model["failed_reason"]
    assert model["environment"]["lock"] == ["onnxruntime==1.20.0", "tiny==2.0"]
    assert "building its environment (relaxed): onnxruntime" in await events(me, model)
    # A script that computes by itself is not burdened with an engine that it does not import.
    (graph / "customize_service.py").write_text("class A(B):\n    def _inference(self, d): pass\n")
    assert (await graphs("script"))["environment"]["digest"] == ""


@pytest.fixture
async def narrow(tmp_path: Path) -> AsyncIterator[Catalogue]:
    """One environment may take 3 MB, all together 5."""
    limits = {"environment_limit_mb": 3, "environments_limit_mb": 5}
    async with catalogue(tmp_path / "narrow", **limits) as running:
        for name, megabytes in {"large": 4, "one": 2, "two": 2, "three": 2}.items():
            content = {f"{name}.py": "", f"{name}.txt": random.Random(name).randbytes(512).hex()}
            content[f"{name}.txt"] *= megabytes * 1024
            write_wheel(Path(running.settings.packages.package_index), name, "1.0", content)
        yield running


async def test_an_environment_that_is_too_large_is_refused_and_gone(narrow: Catalogue) -> None:
    me = await narrow.admin()
    model = await imported(narrow, me, dependencies=pip("large"))
    assert model["model_status"] == "building_failed"
    assert "larger than the 3 MB" in model["failed_reason"]
    assert "MODELYARD_ENVIRONMENT_LIMIT_MB" in model["failed_reason"]
    assert folders(narrow) == []
    assert size(files_below(narrow.settings.layout.environments_cache_dir)) < 1_000_000
    # The copy goes when the failure has been written.
    copy = narrow.settings.layout.packages_dir / me.project_id / model["model_id"]
    async with asyncio.timeout(20):
        while copy.exists():
            await asyncio.sleep(0.01)
    small = await imported(narrow, me, "small", dependencies=pip("one"))
    assert small["model_status"] == "published", small["failed_reason"]
    assert 2_000_000 < small["environment"]["size"] < 3_000_000


async def test_for_room_the_longest_unused_goes_and_nothing_in_use(narrow: Catalogue) -> None:
    me = await narrow.admin()
    one = await imported(narrow, me, "one", dependencies=pip("one"))
    two = await imported(narrow, me, "two", dependencies=pip("two"))
    both = sorted((one["environment"]["digest"], two["environment"]["digest"]))
    assert folders(narrow) == both
    three = await imported(narrow, me, "three", dependencies=pip("three"))
    assert three["model_status"] == "building_failed"
    assert "leave no room" in three["failed_reason"]
    assert "MODELYARD_ENVIRONMENTS_LIMIT_MB" in three["failed_reason"]
    assert folders(narrow) == both
    for model in (two, one):
        await me.call("DELETE", me.url(f"/{model['model_id']}"))
        await narrow.environments.collect()
    assert folders(narrow) == both, "its grace is a day"
    mark = narrow.settings.layout.environments_dir / two["environment"]["digest"] / "unused"
    mark.write_text(str(int(mark.read_text()) - 1))
    again = await imported(narrow, me, "again", dependencies=pip("three"))
    assert again["model_status"] == "published", again["failed_reason"]
    assert folders(narrow) == sorted((one["environment"]["digest"], again["environment"]["digest"]))


async def test_deleting_the_model_ends_the_build(
    yard: Catalogue, me: Caller, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = asyncio.Event()

    async def never(self: Installer, venv: Path) -> None:
        started.set()
        await self._run(["/bin/sleep", "1000"])

    monkeypatch.setattr(Installer, "make", never)
    source = yard.package("bucket/m", dependencies=pip(tiny="==1.0"))
    model_id = await me.import_model(
        model_name="m", model_version="0.0.1", model_type="PyTorch", source_location=source
    )
    await asyncio.wait_for(started.wait(), 30)
    assert (await me.call("GET", me.url(f"/{model_id}"))).json()["model_status"] == "building"
    answer = (await me.call("DELETE", me.url(f"/{model_id}"))).json()
    assert answer["delete_success_list"] == [model_id]
    assert folders(yard) == []
    assert _children("sleep") == []


async def test_a_build_that_takes_too_long_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(self: Installer, venv: Path) -> None:
        await self._run(["/bin/sleep", "1000"])

    monkeypatch.setattr(Installer, "make", never)
    async with catalogue(tmp_path / "home", environment_timeout=2) as yard:
        me = await yard.admin()
        write_wheel(Path(yard.settings.packages.package_index), "tiny", "1.0")
        model = await imported(yard, me, dependencies=pip(tiny="==1.0"))
        assert model["model_status"] == "building_failed"
        assert "MODELYARD_ENVIRONMENT_TIMEOUT" in model["failed_reason"]
        assert folders(yard) == []
        assert _children("sleep") == []


async def test_an_index_that_is_away_is_no_reason_to_relax(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    url = "http://canary:s3cret@127.0.0.1:1/simple"
    async with catalogue(tmp_path / "home", package_index=url) as yard:
        me = await yard.admin()
        model = await imported(yard, me, dependencies=pip(tiny="==1.0"))
        assert model["model_status"] == "building_failed"
        assert "127.0.0.1:1" in model["failed_reason"]
        assert "s3cret" not in model["failed_reason"]
        assert "s3cret" not in "".join(
            path.read_text() for path in yard.settings.layout.logs_dir.rglob("*.log")
        )


async def test_an_unfinished_build_is_begun_anew(yard: Catalogue, me: Caller, index: Path) -> None:
    model = await imported(yard, me, dependencies=pip(tiny="==1.0"))
    digest = model["environment"]["digest"]
    # As a crash leaves it: the row building, the environment half made.
    final = yard.settings.layout.environments_dir / digest
    final.rename(yard.settings.layout.environments_dir / f".build-{digest}-dead")
    async with yard.database.write(Step.TEST) as session:
        for row in await session.scalars(select(Model)):
            row.status, row.environment = "building", ""
    await yard.importer.start()
    again = await me.settled(model["model_id"], 60)
    assert (again["model_status"], again["environment"]["digest"]) == ("published", digest)
    assert folders(yard) == [digest]


def _children(name: str) -> list[int]:
    """Our living children of that program."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")
            mine = entry.name.isdigit() and int(fields[2].split()[1]) == os.getpid()
        except (OSError, IndexError):
            continue
        if mine and f"({name}" in fields[0] and fields[2].split()[0] != "Z":
            found.append(int(entry.name))
    return found


def test_the_period_is_shorter_than_the_grace() -> None:
    assert Settings.fields()["environment_grace"].default > shared.COLLECT_S


async def test_an_environment_that_is_gone_is_made_again(
    yard: Catalogue, me: Caller, index: Path
) -> None:
    model = await imported(yard, me, dependencies=pip(tiny="==1.0", user_of_tiny="==7"))
    digest = model["environment"]["digest"]
    folder = yard.settings.layout.environments_dir / digest
    clock = SystemClock()
    await renew(yard.database, clock, yard.environments)
    assert "environment was gone" not in await events(me, model)
    # The Python that it was made for has left the machine.
    python = folder / "venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/no/such/python")
    hidden = [wheel.rename(wheel.with_suffix(".away")) for wheel in index.iterdir()]
    await renew(yard.database, clock, yard.environments)
    await renew(yard.database, clock, yard.environments)
    told = await events(me, model)
    assert told.count("abnormal: [m 0.0.1] environment cannot be made again") == 1
    for wheel in hidden:
        wheel.rename(wheel.with_suffix(".whl"))
    await renew(yard.database, clock, yard.environments)
    again = (await me.call("GET", me.url(f"/{model['model_id']}"))).json()
    assert (again["model_status"], again["findings"]) == ("published", model["findings"])
    assert says(python_of(yard, again), "import tiny; print(tiny.VERSION)") == "1.0"
    assert "normal: [m 0.0.1] environment was gone and has been made" in await events(me, model)
