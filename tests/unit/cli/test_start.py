"""What a command imports decides how long it takes to start: no module of the server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from standin import StandIn

from modelyard.cli.app import COMMANDS
from modelyard.cli.commands.service.app import COMMANDS as SERVICE_COMMANDS
from modelyard.cli.groups import LazyCommand
from modelyard.client import names
from modelyard.domain.service.batch_job import BATCH_FIELDS

# Prints the imported modules at the end, whether or not the command succeeded.
_RUN = """
import sys
try:
    from modelyard.cli.app import main
    main()
except SystemExit as end:
    code = end.code
print(*sorted(sys.modules), sep="\\n", file=sys.stderr)
sys.exit(code)
"""
_OURS = ("modelyard.cli", "modelyard.client")
_OF_THE_SERVER = {
    "alembic",
    "asyncio",
    "docker",
    "fastapi",
    "grpc",
    "obstore",
    "pydantic",
    "pydantic_settings",
    "sqlalchemy",
    "structlog",
    "uvicorn",
    "uvloop",
}
_CALLS = [
    ["--help"],
    ["service", "list"],
    ["service", "show", "iris"],
    ["service", "stop", "iris", "--no-wait"],
    ["service", "tag", "iris", "a=b"],
    ["service", "revisions", "iris"],
    ["predict", "iris", "--data", "{}"],
    ["model", "list"],
    ["batch", "--help"],
    ["env"],
    ["token"],
]


@pytest.mark.parametrize("call", _CALLS, ids=" ".join)
def test_a_client_command_imports_no_module_of_the_server(
    call: list[str], standin: StandIn, modelyard: object, tmp_path: Path
) -> None:
    standin.statuses = ["running"]
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *call],
        env={**os.environ, "MODELYARD_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    imported = done.stderr.split()
    assert done.returncode == 0, done.stderr
    ours = [name for name in imported if name.startswith("modelyard.")]
    assert not [name for name in ours if not name.startswith(_OURS)]
    assert not _OF_THE_SERVER.intersection(imported)


def test_help_imports_neither_the_commands_nor_what_they_need() -> None:
    run = [sys.executable, "-c", _RUN, "--help"]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    imported = done.stderr.split()
    assert [name for name in imported if name.startswith("modelyard.cli.commands")] == []
    assert not {"rich", "urllib3"}.intersection(imported)


@pytest.mark.parametrize(
    "command", (*COMMANDS, *SERVICE_COMMANDS), ids=lambda command: command.name
)
def test_the_list_of_commands_shows_the_first_sentence_of_each(command: LazyCommand) -> None:
    loaded = command.load()
    first = loaded.help.partition("\n\n")[0]
    assert " ".join(first.split()) == command.help


def test_the_client_knows_all_fields_of_a_batch_job() -> None:
    assert names.BATCH_FIELDS == BATCH_FIELDS
