"""``modelyard quickstart``: a tour of the API on the running platform."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.commands.platform import start_detached
from modelyard.cli.lifecycle.settings import started_settings
from modelyard.cli.lifecycle.status import look
from modelyard.cli.quickstart.tour import Tour
from modelyard.cli.terminal.options import HomeOption, JsonOption
from modelyard.cli.terminal.output import note, notes, progress, results, show_json
from modelyard.client.api_client import Client
from modelyard.client.credentials import find_credentials
from modelyard.client.failures import ClientError


def quickstart(
    name: Annotated[str, typer.Option(help="Prefix of the service and model names.")] = (
        "quickstart"
    ),
    digits: Annotated[
        bool, typer.Option("--digits/--no-digits", help="Include the image classifier.")
    ] = True,
    keep: Annotated[
        bool, typer.Option("--keep/--cleanup", help="Keep the services and models at the end.")
    ] = True,
    up: Annotated[
        bool, typer.Option("--up", help="Start the platform first if it does not run.")
    ] = False,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Train, import, deploy, predict, shift traffic, stop and start: a tour in under a minute."""
    began = time.monotonic()
    _need_platform(home, up)
    console = notes() if json else results()
    with (
        tempfile.TemporaryDirectory(prefix="modelyard-quickstart-") as folder,
        Client(find_credentials(home)) as client,
    ):
        tour = Tour(client, name=name, home=home, work=Path(folder), console=console)
        summary = tour.run(with_digits=digits, keep=keep)
    summary["seconds"] = round(time.monotonic() - began, 1)
    if json:
        show_json(summary)
    note(f"Done in {summary['seconds']} s.")
    ends = f"{name}-iris {name}-digits" if digits else f"{name}-iris"
    if keep:
        note(f"Go on with: modelyard service show {name}-iris")
        note(f"End it with: modelyard service delete {ends}")


def _need_platform(home: Path | None, up: bool) -> None:
    settings = started_settings(home)
    if look(settings).up:
        return
    if not up:
        raise ClientError(
            f"No platform runs in {settings.home}.",
            "Start it with `modelyard up` in another shell, or use `modelyard quickstart --up`.",
        )
    with progress("starting the platform") as shown:
        start_detached(settings, shown.update)
