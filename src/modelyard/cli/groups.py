"""Command groups whose commands are imported when they are called.

``modelyard --help`` lists all commands and ``modelyard service list`` runs one: neither should wait
for the modules of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """A command, or a group of commands, that ``attribute`` of ``module`` holds.

    ``help``: the line in the list of commands; of a command, the first sentence of its docstring.
    """

    name: str
    module: str
    attribute: str
    help: str

    def load(self) -> Any:
        """Import the module and make the command."""
        target = getattr(import_module(self.module), self.attribute)
        if isinstance(target, typer.Typer):
            command: Any = get_group(target)
        else:
            alone = command_group("")
            alone.command(self.name)(target)
            command = get_command(alone)
        command.name = self.name
        return command


def command_group(help: str, lazy: Sequence[LazyCommand] = ()) -> typer.Typer:  # noqa: A002
    """A group with the help text ``help``; commands may be added to it besides those of ``lazy``.

    Its help pages are plain text: to draw boxes takes three times as long.
    """
    return typer.Typer(
        cls=_group_class({one.name: one for one in lazy}),
        help=help,
        no_args_is_help=bool(help),
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )


def _group_class(lazy: dict[str, LazyCommand]) -> type[TyperGroup]:
    class Group(TyperGroup):
        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            for command in self.commands.values():
                # Without it, click cuts the sentence off at 45 characters.
                command.short_help = (command.help or "").partition("\n\n")[0]
            for one in lazy.values():
                self.add_command(TyperCommand(one.name, short_help=one.help))

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            name, command, rest = super().resolve_command(ctx, args)
            return name, lazy[name].load() if name in lazy else command, rest

    return Group
