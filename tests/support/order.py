"""The order of the tests: files that take long come first, so that the workers end together.

``--dist loadfile --no-loadscope-reorder`` hands files to workers in this order; left to itself it
begins with the files that hold the most tests, and one worker is alone with a storm at the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath

import pytest

LONG = (
    "test_storm.py",
    "test_crash.py",
    "test_batch_service.py",
    "test_up_down.py",
    "test_batch_page.py",
    "test_custom_images.py",
    "test_crash_points.py",
    "test_batch_service_points.py",
    "test_container_crash_points.py",
    "test_batch_crash_in_memory.py",
    "test_crash_in_memory.py",
    "test_readme.py",
    "test_batch_storm.py",
    "test_prove.py",
    "test_batch_on_s3.py",
    "test_versions_of_one_library.py",
)
"""More than a minute each, or nearly, the longest first."""

FOLDERS = ("e2e", "crash", "packages", "batch", "conformance", "integration", "property", "unit")
"""As long as their files take."""


def rank(file: PurePath) -> tuple[int, int]:
    """Where a file stands; ``file`` is relative to the folder of the tests."""
    long = LONG.index(file.name) if file.name in LONG else len(LONG)
    folder = file.parts[0]
    return long, FOLDERS.index(folder) if folder in FOLDERS else -1


def ordered(items: Iterable[pytest.Item], root: PurePath) -> list[pytest.Item]:
    """The items by the ranks of their files; within a file they keep their order."""
    return sorted(items, key=lambda item: rank(item.path.relative_to(root)))
