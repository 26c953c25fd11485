"""The arguments and options that several commands share."""

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
    bool, typer.Option("--wait/--no-wait", help="Wait until it is done, and show the progress.")
]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=1, help="Longest wait, in seconds.")]
TIMEOUT_S = 600.0
"""How long a command waits for models and services unless ``--timeout`` says otherwise."""

# What a command is about.
NameArgument = Annotated[str, typer.Argument(help="The new service's name.")]
ServiceArgument = Annotated[str, typer.Argument(metavar="SERVICE", help="Name or id.")]
ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="NAME:VERSION, NAME or the model's id.")
]

# The configuration of a service.
ModelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="NAME:VERSION, NAME:VERSION=WEIGHT, NAME:VERSION=WEIGHTxCOUNT or a model's id; "
        "repeat it for more.",
    ),
]
ConfigOption = Annotated[
    str | None, typer.Option("--config", help="The whole config array as JSON, or @FILE.")
]
FlavorOption = Annotated[str | None, typer.Option("--flavor", help="The instances' specification.")]
EnvOption = Annotated[
    list[str] | None, typer.Option("--env", help="NAME=value for the model; repeat it for more.")
]
SurgeOption = Annotated[
    float | None,
    typer.Option(
        "--max-surge",
        help="Instances that an update may add for a while: a fraction below 1, else a count.",
    ),
]
UnavailableOption = Annotated[
    float | None,
    typer.Option(
        "--max-unavailable",
        help="Instances that may be missing meanwhile: a fraction below 1, else a count.",
    ),
]
GraceOption = Annotated[
    int | None,
    typer.Option("--grace", help="Seconds in which a stopped instance completes its requests."),
]
DescriptionOption = Annotated[str | None, typer.Option(help="Up to 100 characters.")]
StopAfterOption = Annotated[
    str | None, typer.Option("--stop-after", help="Stop by itself after 90m, 2h, 1d; or never.")
]

# The terms of a change.
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show what the change would do, and change nothing.")
]
PlanOption = Annotated[
    str | None,
    typer.Option(
        "--plan",
        metavar="TOKEN",
        help="Make the change only if its plan is still the one that --dry-run showed.",
    ),
]
IfMatchOption = Annotated[
    str | None,
    typer.Option(
        "--if-match",
        metavar="ETAG",
        help="Make the change only if the service still has the etag that `service show` printed.",
    ),
]
