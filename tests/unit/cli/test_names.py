"""From words on the command line to what the API wants."""

import pytest

from modelyard.client.failures import ClientError
from modelyard.client.names import (
    Choice,
    parse_choice,
    read_config,
    read_envs,
    read_json,
    read_schedule,
    shared_weights,
    version_key,
)


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("iris:0.0.1", Choice("iris:0.0.1", None, None)),
        ("iris:0.0.1=70", Choice("iris:0.0.1", 70, None)),
        ("iris:0.0.1=70x2", Choice("iris:0.0.1", 70, 2)),
        ("iris:0.0.1=x3", Choice("iris:0.0.1", None, 3)),
        ("max:1.0.0=0", Choice("max:1.0.0", 0, None)),
        ("iris", Choice("iris", None, None)),
    ],
)
def test_a_choice_names_model_weight_and_count(text: str, choice: Choice) -> None:
    assert parse_choice(text) == choice


@pytest.mark.parametrize("text", ["", "=70", "iris:0.0.1=", "iris:0.0.1=a", "iris=70x", "i=1000"])
def test_a_bad_choice_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ClientError) as caught:
        parse_choice(text)
    assert "NAME:VERSION=WEIGHT" in caught.value.sentence()


def test_weights_left_out_share_a_hundred() -> None:
    weights = shared_weights([parse_choice(name) for name in ("a", "b", "c")])
    assert weights == [34, 33, 33]


def test_weights_are_given_for_all_or_none() -> None:
    assert shared_weights([parse_choice("a=70"), parse_choice("b=30")]) == [70, 30]
    with pytest.raises(ClientError, match="Some model versions"):
        shared_weights([parse_choice("a=70"), parse_choice("b")])


def test_versions_are_ordered_by_number() -> None:
    assert sorted(["0.0.10", "0.0.9", "0.1.0"], key=version_key) == ["0.0.9", "0.0.10", "0.1.0"]


def test_schedules() -> None:
    assert read_schedule("90m") == [{"type": "stop", "time_unit": "MINUTES", "duration": 90}]
    assert read_schedule("1d") == [{"type": "stop", "time_unit": "DAYS", "duration": 1}]
    assert read_schedule("never") == []
    with pytest.raises(ClientError, match="90"):
        read_schedule("90")


def test_environment_pairs_may_hold_equal_signs() -> None:
    assert read_envs(["A=b=c", "D="]) == {"A": "b=c", "D": ""}
    with pytest.raises(ClientError, match="novalue"):
        read_envs(["novalue"])


def test_config_is_read_from_text_or_file(tmp_path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"config": [{"model_id": "m"}]}')
    assert read_config(f"@{file}") == [{"model_id": "m"}]
    assert read_config('[{"model_id": "m"}]') == [{"model_id": "m"}]
    with pytest.raises(ClientError, match="array"):
        read_config("{}")
    with pytest.raises(ClientError, match="not valid JSON"):
        read_json("{", "--data")
    with pytest.raises(ClientError, match="cannot be read"):
        read_json(f"@{tmp_path}/absent.json", "--data")
