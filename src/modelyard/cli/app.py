"""The command ``modelyard``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from modelyard import __version__
from modelyard.cli.groups import LazyCommand, command_group
from modelyard.cli.terminal.output import say, show_failure
from modelyard.client.failures import ClientError

_COMMANDS = "modelyard.cli.commands"

COMMANDS = (
    LazyCommand(
        "up",
        f"{_COMMANDS}.platform",
        "up",
        "Start the platform; Ctrl-C stops all of it, unless --detach was given.",
    ),
    LazyCommand(
        "down",
        f"{_COMMANDS}.platform",
        "down",
        "Stop the platform: control plane, gateway and every instance.",
    ),
    LazyCommand(
        "status",
        f"{_COMMANDS}.platform",
        "status",
        "Show what runs.",
    ),
    LazyCommand(
        "env",
        f"{_COMMANDS}.login",
        "env",
        "Print OS_* exports: `eval $(modelyard env)` sets up OpenStack clients.",
    ),
    LazyCommand(
        "token",
        f"{_COMMANDS}.login",
        "token",
        "Print a token for the X-Auth-Token header.",
    ),
    LazyCommand(
        "quickstart",
        "modelyard.cli.quickstart.command",
        "quickstart",
        "Train, import, deploy, predict, shift traffic, stop and start: a tour in under a minute.",
    ),
    LazyCommand(
        "predict",
        f"{_COMMANDS}.predict",
        "predict",
        "Send one request to a running service and print the answer.",
    ),
    LazyCommand(
        "check",
        f"{_COMMANDS}.check",
        "check",
        "Examine a model package, start it and measure it.",
    ),
    LazyCommand(
        "prove",
        "modelyard.cli.proving.command",
        "prove",
        "Change a service under load, at random, and count the predictions that are lost.",
    ),
    LazyCommand("model", f"{_COMMANDS}.models", "app", "Import, list, show and delete models."),
    LazyCommand(
        "service",
        f"{_COMMANDS}.service.app",
        "app",
        "Deploy, change and watch services.",
    ),
    LazyCommand("batch", f"{_COMMANDS}.batch", "app", "Run a model over stored files or rows."),
    LazyCommand("obs", f"{_COMMANDS}.obs", "app", "List and copy objects of the object store."),
    LazyCommand("iam", f"{_COMMANDS}.iam", "app", "Projects and users (for administrators)."),
)

app = command_group("Self-hosted model serving that speaks the ModelArts service API.", COMMANDS)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"modelyard {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Print it."),
    ] = False,
) -> None:
    """Self-hosted model serving that speaks the ModelArts service API."""


def main() -> None:
    """Run a command; a failure is one line on stderr and exit code 1."""
    try:
        app()
    except ClientError as failure:
        show_failure(failure)
        sys.exit(1)
