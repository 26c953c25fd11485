"""The command ``modelyard``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from modelyard import __version__
from modelyard.cli import batch, iam, models, obs, platform_commands, services
from modelyard.cli.check import check
from modelyard.cli.failures import CliError
from modelyard.cli.output import say, show_failure
from modelyard.cli.predict import predict
from modelyard.cli.prove import prove
from modelyard.cli.quickstart import quickstart

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
    platform_commands.up,
    platform_commands.down,
    platform_commands.status,
    platform_commands.env,
    platform_commands.token,
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
