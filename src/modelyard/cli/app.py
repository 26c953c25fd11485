"""The command ``modelyard``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from modelyard import __version__
from modelyard.cli.commands import batch, iam, models, obs, platform
from modelyard.cli.commands.check import check
from modelyard.cli.commands.predict import predict
from modelyard.cli.commands.service import services
from modelyard.cli.proving.command import prove
from modelyard.cli.quickstart.command import quickstart
from modelyard.cli.terminal.output import say, show_failure
from modelyard.client.failures import CliError

app = typer.Typer(
    name="modelyard",
    help="Self-hosted model serving that speaks the ModelArts service API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


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


for _command in (
    platform.up,
    platform.down,
    platform.status,
    platform.env,
    platform.token,
    quickstart,
    predict,
    check,
    prove,
):
    app.command()(_command)
app.add_typer(models.app, name="model")
app.add_typer(services.app, name="service")
app.add_typer(batch.app, name="batch")
app.add_typer(obs.app, name="obs")
app.add_typer(iam.app, name="iam")


def main() -> None:
    """Run a command; failures are one line on stderr and exit code 1."""
    try:
        app()
    except CliError as failure:
        show_failure(failure)
        sys.exit(failure.exit_code)
