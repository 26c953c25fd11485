"""How many predictions a worker is given at a time."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from modelyard_instance.pool.jobs import HORIZON_S, MOST_AHEAD, Job, Pacing, next_batch
from modelyard_instance.replies import Reply


class Somebody:
    def __init__(self, done: bool = False) -> None:
        self.done = done

    def answer(self, reply: Reply) -> None: ...

    def answer_json(self, body: bytes) -> None: ...


def job(*, done: bool = False, alone: bool = False) -> Job:
    made = Job(Somebody(done), b"", b"", 0.0)
    made.alone = alone
    return made


@given(st.lists(st.floats(0, 50), max_size=20), st.integers(1, 64), st.integers(0, 200))
def test_what_lies_ahead_of_a_worker_is_done_within_the_horizon(
    took: list[float], batch: int, sent: int
) -> None:
    pace = Pacing()
    for seconds in took:
        pace.note(seconds, 1)
    assert pace.room(batch, 0, ahead=False) == batch
    assert pace.room(batch, sent + 1, ahead=False) == 0
    room = pace.room(batch, sent, ahead=True)
    assert room >= (batch if sent == 0 else 0)
    if room > batch:
        assert sent + room <= MOST_AHEAD
        assert (sent + room) * pace.recent_s <= HORIZON_S * 1.001


def test_one_slow_prediction_stops_reading_ahead_at_once() -> None:
    pace = Pacing()
    for _ in range(100):
        pace.note(0.0001, 1)
    assert pace.room(1, 1, ahead=True) > 10
    pace.note(0.1, 1)
    assert pace.room(1, 1, ahead=True) == 0


def test_whoever_is_gone_is_left_out_and_the_suspect_goes_alone() -> None:
    a, b, c, suspect = job(), job(done=True), job(), job(alone=True)
    queue = deque([a, b, c, suspect, job()])
    assert next_batch(queue, 8, idle=True) == [a, c]
    assert next_batch(queue, 8, idle=False) == []
    assert next_batch(queue, 8, idle=True) == [suspect]
    assert len(next_batch(queue, 8, idle=True)) == 1
    assert not queue
