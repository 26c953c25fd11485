"""A store that is unavailable is called again; any other error is final."""

from __future__ import annotations

import pytest

from modelyard.batch.driver import store_retry
from modelyard.batch.driver.store_retry import retry_while_unavailable
from modelyard.errors import InvalidRequest, Unavailable


class Store:
    """Raises these, one call after the other, and then answers."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.calls = 0

    async def read(self) -> str:
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return "content"


async def test_it_waits_and_says_so() -> None:
    reported: list[str] = []
    store = Store(Unavailable("away"), Unavailable("still away"))
    assert await retry_while_unavailable(store.read, reported.append) == "content"
    assert reported == ["away", "still away", ""]


@pytest.mark.parametrize(
    "error", [InvalidRequest("no", code="3567"), Unavailable("no keys", code="1003")]
)
async def test_it_does_not_wait_in_vain(error: Exception) -> None:
    store = Store(error)
    with pytest.raises(type(error)):
        await retry_while_unavailable(store.read)
    assert store.calls == 1


async def test_it_gives_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_retry, "LONGEST_S", 0.05)
    store = Store(*[Unavailable("away")] * 9)
    with pytest.raises(Unavailable):
        await retry_while_unavailable(store.read)
    assert store.calls < 9
