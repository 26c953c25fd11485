"""What the objects that a run writes are called (inference.md §2.6). Pure."""

from __future__ import annotations

RESULT_SUFFIX = "_result.txt"


def manifest_name(task_id: str, n: int) -> str:
    """The output manifest below the destination; ``n`` is 0 where one holds everything, else 1…"""
    return f"infer-result-{task_id}_{n}.manifest" if n else f"infer-result-{task_id}.manifest"


def result_folder(task_id: str) -> str:
    """The folder of the results below the destination; no slash at its end."""
    return f"infer-result-{task_id}"


def quarantine_name(task_id: str) -> str:
    """The JSON lines of everything that failed, below the destination."""
    return f"infer-result-{task_id}-quarantine.jsonl"


def result_key(task_id: str, relative: str) -> str:
    """The result of the input ``relative`` below the destination.

    ``relative``: the input's base name, or its sub-path where several inputs share that name.
    """
    return f"{result_folder(task_id)}/{relative}{RESULT_SUFFIX}"
