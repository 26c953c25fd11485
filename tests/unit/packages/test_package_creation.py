"""The create body, whatever it is (models.md §1.1)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import InvalidRequest
from modelyard.packages.importing.creation import check_creation, version_order
from modelyard.packages.importing.published import Overrides

GOOD: dict[str, object] = {
    "model_name": "flowers",
    "model_version": "1.0.0",
    "model_type": "tensorflow",
    "source_location": "/bucket/folder",
}


def test_defaults() -> None:
    model = check_creation(GOOD | {"description": "", "runtime": None}, "made")
    assert (model.name, model.model_type) == ("flowers", "TensorFlow")
    assert model.install_type == ("real-time", "batch")
    assert model.apis is None
    assert check_creation({**GOOD, "model_name": None}, "made").name == "made"


@pytest.mark.parametrize(
    ("given_", "read"),
    [
        ("real-time", ("real-time",)),
        ("batch, real-time", ("batch", "real-time")),
        ('["batch"]', ("batch",)),
        (["realtime", "real-time"], ("real-time",)),
        ([], ("real-time", "batch")),
    ],
)
def test_install_type_in_every_form(given_: object, read: tuple[str, ...]) -> None:
    assert check_creation(GOOD | {"install_type": given_}, "x").install_type == read


CUSTOM = GOOD | {"model_type": "Custom", "runtime": "registry.example.com/team/server:1.0"}


def test_a_package_and_the_image_that_serves_it() -> None:
    more = {"initial_config": '{"protocol": "https", "port": "8081"}', "cmd": "sh /run.sh"}
    model = check_creation(CUSTOM | more, "x")
    assert (model.model_type, model.runtime) == ("Custom", CUSTOM["runtime"])
    assert model.initial_config == {"model_type": "Custom", "protocol": "https", "port": "8081"}
    assert model.container.cmd == "sh /run.sh"


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"runtime": "python3.7 "}, "runtime"),
        ({"source_location": "localhost/an/image:1"}, "source_location"),
        ({"source_copy": "false"}, "source_copy"),
        ({"execution_code": "/bucket/customize_service.py"}, "execution_code"),
        ({"initial_config": '{"protocol": "ftp"}'}, "initial_config.protocol"),
    ],
)
def test_what_does_not_go_with_it_is_refused_by_name(more: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_creation(CUSTOM | more, "x")
    assert [problem.field for problem in caught.value.problems] == [field]


def test_json_text_counts_as_what_it_says() -> None:
    apis = [{"url": "/", "input_params": {"type": "object", "properties": {"a": {}}}}]
    as_text = check_creation(GOOD | {"apis": json.dumps(apis)}, "x")
    assert as_text == check_creation(GOOD | {"apis": apis}, "x")
    assert as_text.apis is not None
    assert as_text.apis[0].input_params()[0]["param_name"] == "a"


def test_what_is_stored_comes_back() -> None:
    body = GOOD | {
        "dependencies": [{"packages": [{"package_name": "a", "package_version": "1"}]}],
        "model_metrics": {"f1": 1},
        "apis": [{"url": "/"}],
    }
    said = Overrides.of(check_creation(body, "x"))
    assert Overrides.load(json.loads(json.dumps(said.document()))) == said


def test_versions_sort_as_numbers() -> None:
    versions = ["0.0.1", "0.0.2", "0.0.10", "0.1.0", "1.0.0", "10.0.0", "99.99.99"]
    assert sorted(versions, key=version_order) == versions


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=10,
)
_FIELDS = [
    *GOOD,
    *("runtime", "description", "initial_config", "execution_code", "apis", "input_params"),
    *("output_params", "dependencies", "model_algorithm", "model_metrics", "install_type"),
    *("source_job_id", "source_type", "source_copy", "model_docs", "workspace_id", "template"),
]


@given(st.dictionaries(st.sampled_from(_FIELDS) | st.text(max_size=5), _values, max_size=4))
def test_any_body_is_accepted_or_refused_by_name(changes: dict[str, object]) -> None:
    try:
        model = check_creation(GOOD | changes, "made")
    except InvalidRequest as error:
        assert all(problem.field for problem in error.problems)
        error.message.encode()
        return
    json.dumps(Overrides.of(model).document(), allow_nan=False).encode()
