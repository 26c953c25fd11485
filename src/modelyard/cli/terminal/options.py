"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="The platform's folder. [env: MODELYARD_HOME; ~/.modelyard]"),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")
]
WaitOption = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Wait until it is done, showing progress.")
]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=1, help="Longest wait, in seconds.")]
