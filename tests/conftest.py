"""Fixtures that any test may ask for; the stack's parts start only when one does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from contract import Watch, watching
from model_folders import write_package
from order import ordered
from podman_engine import images, podman  # noqa: F401  fixtures
from stack import Stack

# How long an example takes says how busy the machine is, and nothing of what it shows.
settings.register_profile("modelyard", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("modelyard")


@pytest.fixture(scope="session")
def _watch() -> Iterator[Watch]:
    yield from watching()


@pytest.fixture(autouse=True)
def answers_keep_the_contract(_watch: Watch) -> Iterator[None]:
    """Every answer of the API that a test gets is one that the contract allows."""
    _watch.found.clear()
    yield
    assert not _watch.found, "\n".join(_watch.found[:5])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = ordered(items, Path(__file__).parent)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A platform shared by the worker's tests: name your services uniquely, leave it running."""
    with Stack() as running:
        yield running


@pytest.fixture
def fresh_stack() -> Iterator[Stack]:
    """A platform of the test's own, to break as it likes."""
    with Stack() as running:
        yield running


@pytest.fixture
def make_package(tmp_path: Path) -> Callable[..., Path]:
    """``make_package(version, script=None)``: a small package's folder (``model_folders``)."""

    def make(version: str = "0.0.1", script: str | None = None) -> Path:
        number = sum(1 for _ in tmp_path.glob("package-*"))
        return write_package(tmp_path / f"package-{number}", version, script)

    return make


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Packages ``0.0.1``, ``0.0.2`` and ``0.0.3`` that answer their version."""
    folder = tmp_path_factory.mktemp("packages")
    return {
        version: write_package(folder / version, version) for version in ("0.0.1", "0.0.2", "0.0.3")
    }
