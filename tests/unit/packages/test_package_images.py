"""Custom images: addresses, commands and what a document says of a container."""

from __future__ import annotations

import pytest

from modelyard.domain.service.container_image import address_fault, command_words, registry_of
from modelyard.errors import Problem
from modelyard.packages.config.config_json import check_config
from modelyard.packages.config.images import ContainerWish, is_address, parse_wish

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("address", "registry"),
    [
        ("python", ""),
        ("python:3.11-slim", ""),
        ("team/poems", ""),
        ("localhost/poems:1", "localhost"),
        ("registry.example.com/team/poems:1.0", "registry.example.com"),
        ("Registry.Example.com:5000/poems", "registry.example.com:5000"),
        (f"10.0.0.1:5000/team/poems@{DIGEST}", "10.0.0.1:5000"),
    ],
)
def test_addresses_and_their_registries(address: str, registry: str) -> None:
    assert address_fault(address) is None
    assert registry_of(address) == registry
    assert is_address(address)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "",
            "a b",
            "A",
            "http://example.com/a",
            "../a",
            "-a",
            "a:",
            "a:b:c",
            "a//b",
            "a@sha256:1",
        ),
        *("example.com:1/a\n", "a\u0000", "x" * 513, "user@example.com/a", "example.com:999999/a"),
    ],
)
def test_no_addresses(address: str) -> None:
    assert address_fault(address)


@pytest.mark.parametrize("source", ["obs://bucket/a", "/bucket/a", "https://bucket.example.com/a"])
def test_folders_of_objects_are_no_addresses(source: str) -> None:
    assert not is_address(source)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sh /home/run.sh", ["sh", "/home/run.sh"]),
        ("python 'a b.py' \"c;d\" 'e$f'", ["python", "a b.py", "c;d", "e$f"]),
        ("cd /app && ./run", ["/bin/sh", "-c", "cd /app && ./run"]),
        ('echo "$HOME"', ["/bin/sh", "-c", 'echo "$HOME"']),
        ("echo 'open", []),
        ("", []),
    ],
)
def test_command_lines(command: str, words: list[str]) -> None:
    assert command_words(command) == words


def test_what_the_create_call_says_wins() -> None:
    problems: list[Problem] = []
    config = parse_wish(
        {"swr_location": "a/b:1", "port": "9000", "cmd": "run", "health": {"url": "/a"}},
        "config.json.",
        "3016",
        problems,
    )
    said = parse_wish({"port": 80, "startup_health": {"url": "/b"}}, "", "3037", problems)
    assert problems == []
    both = said.over(config)
    assert (both.image, both.port, both.cmd) == ("a/b:1", 80, "run")
    assert sorted(both.probes) == ["health", "startup_health"]
    assert parse_wish(both.document(), "", "3037", problems) == both
    assert ContainerWish().over(both) == both


def test_probes_are_read_from_strings_with_their_defaults() -> None:
    problems: list[Problem] = []
    wish = parse_wish(
        {"health": {"check_method": "HTTP", "period_seconds": "7"}}, "", "3037", problems
    )
    assert wish.probes["health"].document() == {
        "url": "/health",
        "protocol": "http",
        "check_method": "HTTP",
        "command": "",
        "period_seconds": 7,
        "initial_delay_seconds": 12,
        "timeout_seconds": 1,
        "failure_threshold": 12,
    }


IMAGE = {"model_type": "image", "model_algorithm": "poetry"}


def test_an_image_has_apis_at_any_path() -> None:
    apis = [{"url": "/predictions/poem"}, {"url": "/predictions/prose", "method": "get"}]
    result = check_config(IMAGE | {"apis": apis, "swr_location": "a/b:1"})
    assert result.problems == ()
    assert result.config is not None
    assert [api.url for api in result.config.apis] == ["/predictions/poem", "/predictions/prose"]
    assert result.config.container.image == "a/b:1"


CUSTOM = {"model_type": "custom", "runtime": "localhost/servers/any:1"}


def test_a_package_with_a_container_says_how_it_is_served() -> None:
    """As clients of that engine send it: port and protocol alone, as text."""
    result = check_config({"protocol": "https", "port": "8081"}, "initial_config", "Custom")
    assert (result.problems, result.warnings) == ((), ())
    assert result.config is not None
    assert (result.config.model_type, result.config.container.port) == ("Custom", 8081)
    assert [api.protocol for api in result.config.apis] == ["https"]
    own = check_config(CUSTOM | {"cmd": "run", "health": {}, "apis": [{"url": "/predict"}]}).config
    assert own is not None
    assert (own.runtime, own.container.cmd, own.apis[0].url) == (
        "localhost/servers/any:1",
        "run",
        "/predict",
    )


@pytest.mark.parametrize(
    ("more", "field", "says"),
    [
        ({"runtime": "not an image"}, "config.json.runtime", "is not the address of an image"),
        ({"swr_location": "a/b:1"}, "config.json.swr_location", "Name the image as runtime"),
        ({"protocol": "grpc"}, "config.json.protocol", "must be http or https"),
        (
            {"protocol": "https", "apis": [{"protocol": "http"}]},
            "config.json.apis[0].protocol",
            "is not the protocol https",
        ),
        ({"dependencies": [{"packages": []}]}, "config.json.dependencies", "for packages only"),
    ],
)
def test_bad_ones_are_refused_by_name(more: dict[str, object], field: str, says: str) -> None:
    result = check_config(CUSTOM | more)
    [problem] = result.problems
    assert problem.field == field
    assert says in problem.sentence()


def test_the_protocol_of_a_package_that_we_serve_is_ours() -> None:
    result = check_config({"model_type": "PyTorch", "model_algorithm": "a", "protocol": "https"})
    assert "'protocol' is unknown" in result.warnings[0]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"swr_location": "a b"}, "config.json.swr_location"),
        ({"swr_location": 1}, "config.json.swr_location"),
        ({"apis": [{"url": "poem"}]}, "config.json.apis[0].url"),
        ({"apis": [{"url": "/a?b"}]}, "config.json.apis[0].url"),
        ({"apis": [{}, {"protocol": "https"}]}, "config.json.apis"),
        ({"port": 65536}, "config.json.port"),
        ({"port": True}, "config.json.port"),
        ({"cmd": 1}, "config.json.cmd"),
        ({"dependencies": [{"installer": "pip", "packages": []}]}, "config.json.dependencies"),
        (
            {"health": {"check_method": "EXEC", "command": "a 'b"}},
            "config.json.health.command",
        ),
    ],
)
def test_bad_images_are_refused_by_name(more: dict[str, object], field: str) -> None:
    result = check_config(IMAGE | more)
    assert field in [problem.field for problem in result.problems]
