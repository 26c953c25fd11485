"""Print results on stdout, and progress, notes and errors on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from modelyard.client.failures import ClientError

# Rich is imported by the functions that need it: half of the commands print only lines.
if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status
    from rich.text import Text

# A program that reads a pipe needs whole lines, however wide a terminal would be.
_PIPE_WIDTH = 300


def results() -> Console:
    """Return a console on stdout as it is now."""
    from rich.console import Console

    console = Console(file=sys.stdout, soft_wrap=True, highlight=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def notes() -> Console:
    """Return a console on stderr, so that stdout stays machine-readable."""
    from rich.console import Console

    return Console(file=sys.stderr, soft_wrap=True, highlight=False)


def show_json(value: object) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """Print a table on stdout, or the sentence ``empty`` on stderr when there are no rows."""
    if not rows:
        note(empty)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("ID", "SERVICE ID"))
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    results().print(table)


def show_facts(facts: Mapping[str, str]) -> None:
    """Print names and values on stdout, one a line, without those that are empty."""
    from rich.text import Text

    width = max(map(len, facts), default=0)
    console = results()
    for name, value in facts.items():
        if value:
            console.print(Text.assemble((f"{name:<{width}}  ", "bold"), value))


def say(sentence: str) -> None:
    """Print one line of a result on stdout."""
    sys.stdout.write(sentence + "\n")
    sys.stdout.flush()


def note(sentence: str) -> None:
    """Print one line on stderr."""
    sys.stderr.write(sentence + "\n")
    sys.stderr.flush()


def show_failure(failure: ClientError) -> None:
    """Print an error and its remedy as one line on stderr."""
    from rich.text import Text

    notes().print(Text.assemble(("Error: ", "bold red"), failure.sentence()))


def _as_it_is(sentence: str) -> Text:
    """A text without markup: names may hold square brackets."""
    from rich.text import Text

    return Text(sentence)


class Progress:
    """Shows the current step: a spinner on a terminal, elsewhere a line for each change."""

    def __init__(self, status: Status | None) -> None:
        self._status = status
        self._last = ""

    def update(self, sentence: str) -> None:
        if sentence == self._last:
            return
        self._last = sentence
        if self._status is None:
            note(sentence)
        else:
            self._status.update(_as_it_is(sentence))


@contextmanager
def progress(sentence: str) -> Iterator[Progress]:
    """Show progress on stderr while the block runs."""
    console = notes()
    if console.is_terminal:
        with console.status(_as_it_is(sentence)) as status:
            yield Progress(status)
        return
    shown = Progress(None)
    shown.update(sentence)
    yield shown
