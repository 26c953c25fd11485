"""The doctor's findings as a table."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.cli.terminal.output import show_table
from modelyard.client.documents import Document


def show_findings(findings: Sequence[Document]) -> None:
    """One line each; nothing where there is none."""
    if findings:
        show_table(
            ("LEVEL", "WHERE", "WHAT", "FIX"),
            [
                (one.text("level"), one.text("where"), one.text("says"), one.text("fix"))
                for one in findings
            ],
            "",
        )
