"""The mutation test of the planner and the transition: does a test notice every small change?

    make mutation

mutmut makes the changes, one at a time, in a copy under ``mutants/``, and runs the unit tests that
reach them. What survives is printed as a diff. Exit status 1: a module or the whole has a score
below ``NEEDED``.

mutmut leaves properties alone; the planner's rules are full of them, so they are let in here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
from mutmut import __main__ as mutmut
from mutmut.mutation import file_mutation
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

NEEDED = 0.95
PROPERTIES = ("property", "cached_property")
CAUGHT = ("killed", "timeout", "segfault", "caught by type check")

Statements = Sequence[cst.SimpleStatementLine | cst.BaseCompoundStatement]


@dataclass(frozen=True, slots=True)
class Score:
    """``survivors``: names of the changes that no test noticed."""

    module: str
    mutants: int
    survivors: tuple[str, ...]

    @property
    def killed(self) -> float:
        return 1 - len(self.survivors) / self.mutants if self.mutants else 1.0

    def line(self) -> str:
        caught = self.mutants - len(self.survivors)
        return f"{self.module:<12} {self.mutants:>5} {caught:>7} {100 * self.killed:>6.1f} %"


def let_properties_in() -> None:
    """Have mutmut change the bodies of properties, too."""
    skips = file_mutation.MutationVisitor._skip_node_and_children
    arrange = file_mutation.function_trampoline_arrangement

    def skip(self: file_mutation.MutationVisitor, node: cst.CSTNode) -> bool:
        return False if _is_property(node) else skips(self, node)

    def arrange_property(
        function: cst.FunctionDef,
        mutants: Iterable[file_mutation.Mutation],
        class_name: str | None,
    ) -> tuple[Statements, Statements, Statements, Sequence[str]]:
        if not _is_property(function):
            return arrange(function, mutants, class_name)
        # The variants are plain methods; only what chooses among them is the property.
        plain = function.with_changes(decorators=[])
        declared, nodes, assigned, names = arrange(plain, mutants, class_name)
        chooser = cst.ensure_type(nodes[0], cst.FunctionDef)
        decorators = [*function.decorators, *chooser.decorators]
        return declared, [chooser.with_changes(decorators=decorators), *nodes[1:]], assigned, names

    file_mutation.MutationVisitor._skip_node_and_children = skip  # type: ignore[method-assign]
    file_mutation.function_trampoline_arrangement = arrange_property


def _is_property(node: cst.CSTNode) -> bool:
    if not isinstance(node, cst.FunctionDef) or len(node.decorators) != 1:
        return False
    decorator = node.decorators[0].decorator
    return isinstance(decorator, cst.Name) and decorator.value in PROPERTIES


def scores() -> Iterator[Score]:
    """What the last run found, module by module."""
    for path in mutmut.walk_mutatable_files():
        found = SourceFileMutationData(path=path)
        found.load()
        statuses = {
            name: status_by_exit_code[code] for name, code in found.exit_code_by_key.items()
        }
        if statuses:
            survivors = tuple(name for name, status in statuses.items() if status not in CAUGHT)
            yield Score(Path(path).stem, len(statuses), survivors)


def main() -> int:
    let_properties_in()
    mutmut._run(sys.argv[1:], None)
    found = sorted(scores(), key=lambda score: score.module)
    for score in found:
        for name in score.survivors:
            print(f"\n{name}\n{get_diff_for_mutant(name)}")
    total = Score(
        "all", sum(s.mutants for s in found), tuple(n for score in found for n in score.survivors)
    )
    print(f"\n{'module':<12} {'made':>5} {'killed':>7}    score")
    for score in (*found, total):
        print(score.line())
    return 0 if all(score.killed >= NEEDED for score in (*found, total)) else 1


if __name__ == "__main__":
    sys.exit(main())
