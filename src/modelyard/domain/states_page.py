"""``docs/states.md``, written from the tables of ``lifecycle.py``.

``python -m modelyard.domain.states_page > docs/states.md`` brings the page up to date.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from modelyard.domain.service.lifecycle import TRANSITIONS, Action, Status, Verdict, may

_WORDS = {Verdict.ALLOWED: "yes", Verdict.FORBIDDEN: "no", Verdict.SAME: "already so"}
_HEAD = """# A service's statuses

Generated from `src/modelyard/domain/service/lifecycle.py` by
`python -m modelyard.domain.states_page > docs/states.md`; do not edit.
"""
_ALLOWED = """
## What is allowed in each status
`config` stands for `PUT` with `config` or `load_balancer_policy`, `PATCH` and rollback;
`description/schedule` also for `additional_properties` and tags; `property` for `PUT …/property`.
What is not allowed is answered 400 ModelArts.3519 and changes nothing. "Already so" is answered
200 without effect, or refused like the others with `MODELYARD_STRICT_SAME_STATUS`. `finished` is
a status of batch services; `PUT …/property` is of real-time ones. `POST …/retry-failed` is allowed
where `status=running` is.
"""
_CHANGES = """
## How one status leads to another
Deploying is the first status. A deleted service is gone once nothing of it is left. A
`description`, a schedule, tags and a configuration update of a service that runs or is stopped
leave the status as it is; but one that changes what a batch run does begins a new run.
"""


def states_page() -> str:
    """The page as Markdown."""
    actions = list(Action)
    allowed = _table(
        ("status", *(f"`{action}`" for action in actions)),
        ((status, *(_WORDS[may(status, a)] for a in actions)) for status in Status),
    )
    changes = _table(
        ("from", "because of", "to", "who"),
        (
            (", ".join(t.before for t in ways), trigger, after, by)
            for (trigger, after, by), ways in groupby(
                TRANSITIONS, lambda t: (t.trigger, t.after, t.by)
            )
        ),
    )
    return f"{_HEAD}{_ALLOWED}\n{allowed}{_CHANGES}\n{changes}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    print(states_page(), end="")
