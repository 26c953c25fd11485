"""Who takes whose place."""

from __future__ import annotations

from modelyard.domain.service.config import VersionConfig
from modelyard.domain.service.slots import assign_slots


def config(*models: str) -> tuple[VersionConfig, ...]:
    return tuple(
        VersionConfig(model, "flavor", 1, 100 if not at else 0) for at, model in enumerate(models)
    )


def slots(before: tuple[VersionConfig, ...], *models: str) -> list[str]:
    return [v.slot for v in assign_slots(before, config(*models))]


def test_at_creation_a_slot_is_named_like_its_model() -> None:
    assert slots((), "a", "b") == ["a", "b"]


def test_only_the_slot_is_new_in_a_version() -> None:
    [made] = assign_slots((), config("a"))
    assert made.model_id == "a"
    assert made.weight == 100


def test_a_new_model_takes_the_slot_of_the_one_that_leaves() -> None:
    before = assign_slots((), config("a"))
    assert slots(before, "b") == ["a"]


def test_models_that_stay_keep_their_slots_in_any_order() -> None:
    before = assign_slots((), config("a", "b"))
    assert slots(before, "b", "a") == ["b", "a"]
    assert slots(before, "c", "b") == ["a", "b"]
    assert slots(before, "b", "c") == ["b", "a"]


def test_those_that_leave_are_followed_in_their_order() -> None:
    before = assign_slots((), config("a", "b"))
    assert slots(before, "c", "d") == ["a", "b"]
    assert slots(before, "d") == ["a"]


def test_what_is_more_gets_a_slot_of_its_own() -> None:
    before = assign_slots((), config("a"))
    assert slots(before, "a", "b") == ["a", "b"]
    assert slots(before, "c", "d", "e") == ["a", "d", "e"]


def test_a_model_that_comes_back_finds_its_name_taken() -> None:
    first = assign_slots((), config("a"))
    second = assign_slots(first, config("b"))
    assert slots(second, "b", "a") == ["a", "a.2"]


def test_the_third_of_a_name_is_numbered_on() -> None:
    before = tuple(
        VersionConfig(model, "flavor", 1, 0, slot=slot)
        for model, slot in (("x", "a"), ("y", "a.2"))
    )
    assert slots(before, "x", "y", "a") == ["a", "a.2", "a.3"]


def test_two_new_models_never_share_a_slot() -> None:
    before = (VersionConfig("x", "flavor", 1, 0, slot="b.2"),)
    assert slots(before, "x", "b", "c") == ["b.2", "b", "c"]
    crossed = (VersionConfig("x", "flavor", 1, 0, slot="b"),)
    assert slots(crossed, "x", "b", "b.2") == ["b", "b.2", "b.2.2"]
