"""``modelyard env`` and ``modelyard token``: what other clients need to log in."""

from __future__ import annotations

from modelyard.cli.terminal.options import HomeOption, JsonOption
from modelyard.cli.terminal.output import say, show_json
from modelyard.client.api_client import connected
from modelyard.client.credentials import export_lines, exports, find_credentials


def env(home: HomeOption = None, json: JsonOption = False) -> None:
    """Print OS_* exports: `eval $(modelyard env)` sets up OpenStack clients."""
    variables = exports(find_credentials(home))
    if json:
        show_json(variables)
    else:
        say(export_lines(variables))


def token(home: HomeOption = None, json: JsonOption = False) -> None:
    """Print a token for the X-Auth-Token header."""
    with connected(home) as client:
        value = client.token()
        if json:
            show_json({"token": value, "project_id": client.project_id})
        else:
            say(value)
