"""Print a service, and answers about it."""

from __future__ import annotations

from modelyard.cli.terminal.output import note, show_facts, show_json, show_table
from modelyard.client.documents import Document, moment


def show_service(service: Document, json: bool) -> None:
    """Print the service; its ``etag`` is the value for ``--if-match``."""
    etag = service.etag.strip('"')
    if json:
        show_json({**service.raw, "etag": etag} if etag else service.raw)
        return
    show_facts(
        {
            "name": service.text("service_name"),
            "id": service.text("service_id"),
            "status": service.text("status"),
            "error": service.text("error_msg"),
            "address": service.text("access_address"),
            "etag": etag,
            "description": service.text("description"),
            "updated": moment(service.number("update_time")) if "update_time" in service else "",
            "stops at": moment(service.number("due_time")) if "due_time" in service else "",
        }
    )
    show_table(
        ("MODEL", "VERSION", "WEIGHT", "INSTANCES", "FLAVOUR", "STATUS"),
        [
            (
                entry.text("model_name"),
                entry.text("model_version"),
                entry.text("weight"),
                entry.text("instance_count"),
                entry.text("specification"),
                entry.text("status"),
            )
            for entry in service.parts("config")
        ],
        "No model versions.",
    )


def show_answer(answer: Document, sentence: str, json: bool) -> None:
    """Print the API's answer as JSON, or the sentence."""
    if json:
        show_json(answer.raw)
    else:
        note(sentence)


def short_version(entry: Document) -> str:
    """``NAME:VERSION=WEIGHTxCOUNT``, as the command line takes it."""
    return (
        f"{entry.text('model_name')}:{entry.text('model_version')}"
        f"={entry.text('weight')}x{entry.text('instance_count')}"
    )
