"""Where words go: results on stdout, everything said along the way on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from modelyard.client.failures import CliError

# What reads a pipe wants whole lines, whatever a terminal's width would be.
_PIPE_WIDTH = 300


def results() -> Console:
    """stdout, looked up at each use."""
    console = Console(file=sys.stdout, soft_wrap=True, highlight=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def notes() -> Console:
    """stderr: progress, hints and errors, so that stdout stays machine-readable."""
    return Console(file=sys.stderr, soft_wrap=True, highlight=False)


def show_json(value: object) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """A table on stdout, or the sentence ``empty`` on stderr when there are no rows."""
    if not rows:
        note(empty)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("ID", "SERVICE ID"))
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    results().print(table)


def show_facts(facts: Mapping[str, str]) -> None:
    """Names and values, one a line, on stdout; empty values are left out."""
    width = max(map(len, facts), default=0)
    console = results()
    for name, value in facts.items():
        if value:
            console.print(Text.assemble((f"{name:<{width}}  ", "bold"), value))


def say(sentence: str) -> None:
    """One line of a result on stdout, as it is."""
    sys.stdout.write(sentence + "\n")
    sys.stdout.flush()


def note(sentence: str) -> None:
    """One line on stderr, as it is."""
    notes().print(Text(sentence))


def show_failure(failure: CliError) -> None:
    notes().print(Text.assemble(("Error: ", "bold red"), failure.sentence()))


class Progress:
    """Says what is going on: a spinner on a terminal, a line for each change elsewhere."""

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
            self._status.update(Text(sentence))


@contextmanager
def progress(sentence: str) -> Iterator[Progress]:
    """Progress on stderr for as long as the block runs."""
    console = notes()
    if console.is_terminal:
        with console.status(Text(sentence)) as status:
            yield Progress(status)
        return
    shown = Progress(None)
    shown.update(sentence)
    yield shown
