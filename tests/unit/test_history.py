"""The history checker itself: good histories pass, each kind of forged one is found."""

from __future__ import annotations

from dataclasses import replace

import pytest

from history import Answer, Config, History, Log, Look, Put, check

A, B = "model-a", "model-b"
FIRST: Config = ((A, 100, 1),)
SECOND: Config = ((A, 40, 1), (B, 60, 1))
THIRD: Config = ((B, 100, 2),)


def log(time: int, revision: int, result: str, config: Config, *, overtaken: bool = False) -> Log:
    return Log(time, revision, result, config, overtaken)


def look(at: float, live: int, config: Config, *logs: Log, settled: bool = False) -> Look:
    return Look(at, at + 10, logs, config, live, settled=settled)


def good() -> History:
    """Created, updated at 1000 (in force by 2000), and again at 3000, in force by 4000."""
    done = log(1010, 2, "SUCCESS", SECOND)
    return History(
        first=FIRST,
        versions={A: "1.0", B: "2.0"},
        puts=[Put(1000, SECOND, 200, 1010), Put(3000, THIRD, 200, 3010)],
        looks=[
            look(1100, 1, FIRST, log(1010, 2, "RUNNING", SECOND)),
            look(2000, 2, SECOND, done),
            look(3100, 2, SECOND, done, log(3010, 3, "RUNNING", THIRD)),
            look(4000, 3, THIRD, done, log(3010, 3, "SUCCESS", THIRD)),
        ],
        answers=[
            Answer(500, 510, "1.0", 1),
            Answer(1500, 1510, "1.0", 1),
            Answer(1500, 1510, "2.0", 2),
            Answer(2500, 2510, "1.0", 2),
            Answer(3500, 3510, "1.0", 2),
            Answer(4500, 4510, "2.0", 3),
        ],
    )


def test_a_good_history_passes() -> None:
    assert check(good(), finished=True) == []


def test_an_unanswered_update_may_have_been_accepted_or_not() -> None:
    history = good()
    history.puts.insert(1, Put(2500, ((A, 1, 1), (B, 99, 1))))
    assert check(history, finished=True) == []
    history = good()
    history.puts[1] = Put(3000, THIRD, 503)
    assert check(history, finished=True) == []


def test_the_same_update_again_is_told_apart() -> None:
    history = good()
    history.puts.insert(1, Put(2500, THIRD))
    assert check(history, finished=True) == []


def test_an_overtaken_update_may_have_answered_until_the_next_one_rules() -> None:
    history = good()
    overtaken = log(1010, 2, "FAIL", SECOND, overtaken=True)
    history.looks = [
        look(1100, 1, FIRST, log(1010, 2, "RUNNING", SECOND)),
        look(3100, 1, FIRST, overtaken, log(3010, 3, "RUNNING", THIRD)),
        look(4000, 3, THIRD, overtaken, log(3010, 3, "SUCCESS", THIRD)),
    ]
    assert check(history, finished=True) == []


def test_a_rolled_back_update_answers_no_more() -> None:
    history = good()
    history.puts.pop()
    failed = log(1010, 2, "FAIL", SECOND)
    history.looks = [
        look(1900, 1, FIRST, failed),
        look(2000, 1, FIRST, failed, settled=True),
    ]
    history.answers = [Answer(1950, 1960, "2.0", 2), Answer(2500, 2510, "1.0", 1)]
    assert check(history) == []
    history.answers.append(Answer(2500, 2510, "2.0", 2))
    [found] = check(history)
    assert "answered for revision 2" in found
    assert any("in the end 1 is live" in told for told in check(history, finished=True))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(500, 510, "2.0", 2), "before it was sent"),
        (Answer(500, 510, "2.0", 1), "a version that its revision has not"),
        (Answer(2500, 2510, "1.0", 1), "the former revision, after the next one succeeded"),
        (Answer(4500, 4510, "1.0", 3), "a version that left"),
        (Answer(4500, 4510, "2.0", 2), "the former revision again"),
        (Answer(2500, 2510, "2.0", 7), "a revision that never was"),
    ],
)
def test_a_forged_answer_is_found(answer: Answer, why: str) -> None:
    history = good()
    history.answers.append(answer)
    assert len(check(history)) == 1, why


def test_a_version_of_weight_0_may_not_answer() -> None:
    history = good()
    idle: Config = ((A, 100, 1), (B, 0, 1))
    history.puts[1] = replace(history.puts[1], config=idle)
    history.looks = [
        *history.looks[:2],
        look(4000, 3, idle, history.looks[1].logs[0], log(3010, 3, "SUCCESS", idle)),
    ]
    history.answers[-1] = Answer(4500, 4510, "1.0", 3)
    assert check(history, finished=True) == []
    history.answers.append(Answer(4500, 4510, "2.0", 3))
    assert len(check(history)) == 1


def test_an_accepted_update_without_a_log_is_found() -> None:
    history = good()
    history.puts.append(Put(5000, FIRST, 200, 5010))
    assert any("no log tells of it" in told for told in check(history))


def test_an_update_that_nobody_asked_for_is_found() -> None:
    history = good()
    history.puts.pop(0)
    assert any("nobody asked" in told for told in check(history))


def test_a_refused_update_that_is_carried_out_is_found() -> None:
    history = good()
    history.puts[0] = Put(1000, SECOND, 400)
    assert any("nobody asked" in told for told in check(history))


def test_updates_in_another_order_are_found() -> None:
    history = good()
    history.puts.reverse()
    assert any("nobody asked at that time" in told for told in check(history))


def test_another_configuration_than_asked_for_is_found() -> None:
    history = good()
    history.puts[1] = replace(history.puts[1], config=FIRST)
    assert any("nobody asked" in told for told in check(history))


def test_illegal_weights_are_found() -> None:
    history = good()
    history.looks[1] = replace(history.looks[1], config=((A, 40, 1), (B, 50, 1)))
    assert any("weights [40, 50]" in told for told in check(history))


def test_a_service_that_shows_another_revision_is_found() -> None:
    history = good()
    history.looks[1] = replace(history.looks[1], config=((A, 50, 1), (B, 50, 1)))
    assert any("not what its revision is" in told for told in check(history))


def test_success_of_a_revision_that_is_not_live_is_found() -> None:
    history = good()
    history.looks[-1] = replace(history.looks[-1], live=2, config=SECOND)
    assert any("had succeeded" in told for told in check(history))


@pytest.mark.parametrize(
    "after",
    [
        log(1010, 2, "FAIL", SECOND),
        log(1010, 2, "RUNNING", SECOND),
        log(1010, 2, "SUCCESS", THIRD),
        log(1010, 9, "SUCCESS", SECOND),
        None,
    ],
)
def test_a_log_that_changes_is_found(after: Log | None) -> None:
    history = good()
    last = history.looks[-1]
    history.looks[-1] = replace(last, logs=(*([after] if after else ()), last.logs[1]))
    assert check(history) != []


def test_two_updates_that_run_at_once_are_found() -> None:
    history = good()
    running = log(1010, 2, "RUNNING", SECOND)
    history.looks = [look(3100, 1, FIRST, running, log(3010, 3, "RUNNING", THIRD))]
    history.answers = []
    assert any("another one followed" in told for told in check(history))
