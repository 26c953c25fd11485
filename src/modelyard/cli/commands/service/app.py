"""``modelyard service``: the group of commands."""

from __future__ import annotations

from modelyard.cli.groups import LazyCommand, command_group

_SERVICES = "modelyard.cli.commands.service.services"
_CHANGES = "modelyard.cli.commands.service.changes"
_REVISIONS = "modelyard.cli.commands.service.revisions"

COMMANDS = (
    LazyCommand(
        "create",
        _SERVICES,
        "create",
        "Deploy a real-time service with one or more model versions.",
    ),
    LazyCommand("list", _SERVICES, "list_services", "List the project's services, newest first."),
    LazyCommand("show", _SERVICES, "show", "Show one service."),
    LazyCommand(
        "update",
        "modelyard.cli.commands.service.update",
        "update",
        "Change a live service: versions, weights, counts, flavor, environment, schedule, limits.",
    ),
    LazyCommand(
        "patch",
        _CHANGES,
        "patch",
        "Replace single values of the configuration, which JSON pointers name.",
    ),
    LazyCommand("start", _SERVICES, "start", "Start a stopped service."),
    LazyCommand("stop", _SERVICES, "stop", "Stop a service; it keeps its configuration."),
    LazyCommand("delete", _SERVICES, "delete", "Delete services and stop their instances."),
    LazyCommand(
        "logs",
        _SERVICES,
        "logs",
        "Show the service's updates and their results, newest first.",
    ),
    LazyCommand("events", _SERVICES, "events", "Show what happened to the service, newest first."),
    LazyCommand("tag", _CHANGES, "tag", "Set and remove tags, and show all tags of the service."),
    LazyCommand(
        "revisions",
        _REVISIONS,
        "revisions",
        "List the revisions of the service's configuration, newest first.",
    ),
    LazyCommand(
        "compare",
        _REVISIONS,
        "compare",
        "Show the differences of two revisions, and their effects on instances.",
    ),
    LazyCommand(
        "rollback",
        _REVISIONS,
        "rollback",
        "Apply the configuration of an earlier revision, as a new revision.",
    ),
    LazyCommand(
        "served",
        _REVISIONS,
        "served",
        "Show which revision served predictions at a given time.",
    ),
    LazyCommand(
        "request",
        _REVISIONS,
        "request",
        "Show which revision, version and instance answered a prediction.",
    ),
)

app = command_group("Deploy, change and watch services.", COMMANDS)
