"""``modelyard prove``: check on this machine that updates lose no prediction."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.lifecycle.settings import started_settings
from modelyard.cli.lifecycle.status import look
from modelyard.cli.proving.account import Account
from modelyard.cli.proving.trial import Terms, Trial
from modelyard.cli.terminal.options import HomeOption, JsonOption
from modelyard.cli.terminal.output import note, progress, say, show_facts, show_json
from modelyard.client.api_client import Client
from modelyard.client.credentials import find_credentials
from modelyard.client.failures import ClientError

_LOST = 1
_MOST_SHOWN = 20


def prove(
    updates: Annotated[int, typer.Option(min=1, help="How many updates to make.")] = 100,
    seconds: Annotated[
        float, typer.Option(min=0, help="Make no more updates after this time; 0: no limit.")
    ] = 0,
    rate: Annotated[float, typer.Option(min=1, max=1000, help="Predictions a second.")] = 200,
    kill: Annotated[
        bool, typer.Option("--kill", help="Also kill the control plane, again and again.")
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(help="Repeat the updates of an earlier run.", show_default="random"),
    ] = None,
    json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Change a service under load, at random, and count the predictions that are lost.

    The service is made for this and removed at the end. The exit code is 1 if a prediction was
    lost.
    """
    settings = started_settings(home)
    if not look(settings).up:
        raise ClientError(
            f"No platform runs in {settings.home}.",
            "Start it with `modelyard up` in another shell.",
        )
    terms = Terms(updates, seconds, rate, kill, secrets.randbits(24) if seed is None else seed)
    with (
        tempfile.TemporaryDirectory(prefix="modelyard-prove-") as folder,
        Client(find_credentials(home)) as client,
        progress("preparing") as shown,
    ):
        account = Trial(client, settings, home, Path(folder), terms, shown.update).run()
    if json:
        show_json({**account.document(), "seed": terms.seed})
    else:
        _show(account, terms)
    if not account.good:
        raise typer.Exit(_LOST)


def _show(account: Account, terms: Terms) -> None:
    show_facts(dict(account.rows()))
    say(account.verdict)
    losses = account.losses()
    for line in losses[:_MOST_SHOWN]:
        note(line)
    if len(losses) > _MOST_SHOWN:
        note(f"and {len(losses) - _MOST_SHOWN} more; --json lists them.")
    if not account.good:
        note(f"The same updates again: modelyard prove --seed {terms.seed}")
