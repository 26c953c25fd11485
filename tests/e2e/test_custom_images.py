"""Custom images (models.md §5) on a whole platform: imported, served, updated, limited, adopted."""

from __future__ import annotations

import json
import os
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from live import (
    entry,
    events,
    infer_url,
    load,
    put,
    service,
    show,
    until,
    update,
    wait_status,
    wait_update,
)
from podman_engine import Images, Podman, cgroup_value, container_name
from stack import Stack

RATE = 300
Json = dict[str, Any]


@pytest.fixture(scope="module")
def platform(podman: Podman) -> Iterator[Stack]:
    """A platform with an engine; nothing of its containers is left."""
    with Stack(env={"MODELYARD_CONTAINER_HOST": podman.socket}) as running:
        yield running
    assert [name for name in podman.containers() if name.startswith("modelyard-")] == []


def import_image(stack: Stack, address: str, version: str, **more: Any) -> str:
    """Import an image by its address; gives the model's id once it is published."""
    model = settled(stack, create(stack, address, version, **more))
    assert model["model_status"] == "published", model["failed_reason"]
    return str(model["model_id"])


def create(stack: Stack, address: str, version: str, **more: Any) -> str:
    body = {
        "model_name": f"image-{os.urandom(4).hex()}",
        "model_version": version,
        "model_type": "Image",
        "source_location": address,
    }
    answer = stack.api("POST", "/models", body | more)
    return str(answer["model_id"])


def settled(stack: Stack, model_id: str) -> Json:
    def over() -> Json | None:
        model: Json = stack.api("GET", f"/models/{model_id}")
        return model if model["model_status"] != "publishing" else None

    found: Json = until(over, 60)
    return found


def predict(stack: Stack, service_id: str, path: str = "", **query: Any) -> httpx.Response:
    url = infer_url(stack, service_id) + path
    return stack.client.post(url, json={"line": "roses"}, params=query)


def instances(stack: Stack, service_id: str) -> list[Json]:
    return [one for one in stack.status()["instances"] if one["service_id"] == service_id]


def test_served_through_the_gateway(platform: Stack, images: Images) -> None:
    stack = platform
    address = images.make("1.0.0")
    model_id = import_image(stack, address, "1.0.0", apis=[{"url": "/predictions/poem"}])
    shown = stack.api("GET", f"/models/{model_id}")
    assert shown["image_address"] == address
    assert shown["model_size"] > 1_000_000
    assert json.loads(shown["apis"])[0]["url"] == "/predictions/poem"
    with service(stack, [entry(model_id, 100, envs={"A_VARIABLE": "blue"})]) as service_id:
        answer = predict(stack, service_id, "/predictions/poem", q="1")
        assert answer.status_code == 200, answer.text
        said = answer.json()
        assert (said["version"], said["path"], said["query"]) == (
            "1.0.0",
            "/predictions/poem",
            {"q": "1"},
        )
        assert said["environment"]["A_VARIABLE"] == "blue"
        assert said["environment"]["MODEL_VERSION"] == "1.0.0"
        assert not {name for name in said["headers"] if "token" in name}
        [instance] = instances(stack, service_id)
        assert answer.headers["x-modelyard-model-version"] == "1.0.0"
        assert answer.headers["x-modelyard-instance"] == instance["instance_id"]
        assert answer.headers["x-modelyard-revision"] == "1"
        request_id = answer.headers["x-request-id"]
        request = stack.api("GET", f"/services/{service_id}/requests/{request_id}")
        assert request["instance_id"] == instance["instance_id"]
        assert request["model_version"] == "1.0.0"
        assert predict(stack, service_id).json()["path"] == "/"
        log = stack.home / "logs" / "instances" / service_id / f"{instance['instance_id']}.log"
        until(lambda: "listening on 8080 as 1.0.0" in log.read_text(), 30)


def test_websockets_are_passed_through(platform: Stack, images: Images) -> None:
    stack = platform
    model_id = import_image(stack, images.make("1.0.0"), "1.0.0")
    on = {"websocket_upgrade": True}
    with service(stack, [entry(model_id, 100)], additional_properties=on) as service_id:
        url = f"{infer_url(stack, service_id)}/deep".replace("http", "ws", 1)
        headers = {"X-Auth-Token": stack.client.headers["X-Auth-Token"]}
        with connect(url, additional_headers=headers, proxy=None) as caller:
            for word in ("roses", "violets"):
                caller.send(word)
                assert caller.recv(timeout=30) == f"1.0.0 {word}"
            head = caller.response
            assert head is not None
            [instance] = instances(stack, service_id)
            assert head.headers["x-modelyard-instance"] == instance["instance_id"]
            assert head.headers["x-modelyard-model-version"] == "1.0.0"


def test_updated_to_another_image_under_load(
    platform: Stack, images: Images, tmp_path: Path
) -> None:
    """The images end at SIGTERM without finishing anything, and yet nothing is lost."""
    stack = platform
    first = import_image(stack, images.make("1.0.0"), "1.0.0")
    second = import_image(stack, images.make("2.0.0"), "2.0.0")
    with (
        service(stack, [entry(first, 100, 2)]) as service_id,
        load(stack, service_id, tmp_path, rate=RATE) as running,
    ):
        running.wait_more(RATE)
        update(stack, service_id, [entry(second, 100, 2)])
        running.wait_more(RATE)
        update(stack, service_id, [entry(first, 50, 1), entry(second, 50, 1)])
        running.wait_more(RATE)
        until(lambda: len(instances(stack, service_id)) == 2, 60)
        summary = running.stop()
    assert summary.failed == []
    assert set(summary.versions) == {"1.0.0", "2.0.0"}
    print(f"images exchanged twice under load: {summary.sent} sent, {summary.failed_count} failed")


def test_beside_a_package_each_says_its_version(
    platform: Stack, images: Images, model_folders: dict[str, Path]
) -> None:
    stack = platform
    package = stack.import_model(model_folders["0.0.2"], "beside", "0.0.2")
    image = import_image(stack, images.make("1.0.0"), "1.0.0")
    with service(stack, [entry(package, 50), entry(image, 50)]) as service_id:
        for _ in range(8):
            answer = predict(stack, service_id)
            assert answer.headers["x-modelyard-model-version"] == answer.json()["version"]


def test_the_flavors_limits_hold(platform: Stack, images: Images, podman: Podman) -> None:
    stack = platform
    model_id = import_image(stack, images.make("1.0.0"), "1.0.0")
    config = [entry(model_id, 100)]
    with service(stack, config) as service_id:
        [instance] = instances(stack, service_id)
        memory = cgroup_value(instance["pid"], "memory", "memory.limit_in_bytes", "memory.max")
        cpu = cgroup_value(instance["pid"], "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0]
        shown = podman.inspect(container_name(podman, instance["instance_id"]))
        assert int(memory) == shown["HostConfig"]["Memory"] == 8 * 1024**3
        assert int(cpu) == 200_000


def test_an_image_that_ends_is_replaced_and_the_event_says_why(
    platform: Stack, images: Images
) -> None:
    stack = platform
    model_id = import_image(stack, images.make("1.0.0"), "1.0.0")
    with service(stack, [entry(model_id, 100)]) as service_id:
        [before] = instances(stack, service_id)
        assert predict(stack, service_id, "/exit", code=5).status_code >= 500
        until(lambda: any("exit code 5" in text for text in events(stack, service_id)), 30)
        told = next(text for text in events(stack, service_id) if "exit code 5" in text)
        assert "leaving as asked" in told
        wait_status(stack, service_id, "running")
        until(lambda: predict(stack, service_id).status_code == 200, 60)
        assert [one["instance_id"] for one in instances(stack, service_id)] != [
            before["instance_id"]
        ]


def test_an_image_that_never_answers_its_probe_is_rolled_back(
    platform: Stack, images: Images, tmp_path: Path
) -> None:
    stack = platform
    good = import_image(stack, images.make("1.0.0"), "1.0.0")
    health = {
        "check_method": "HTTP",
        "url": "/health",
        "period_seconds": "1",
        "initial_delay_seconds": "0",
        "failure_threshold": "2",
        "timeout_seconds": "5",
    }
    bad = import_image(stack, images.make("2.0.0"), "2.0.0", health=health)
    assert stack.api("GET", f"/models/{bad}")["health"]["period_seconds"] == 1
    with (
        service(stack, [entry(good, 100)]) as service_id,
        load(stack, service_id, tmp_path, rate=100) as running,
    ):
        answer = put(
            stack, service_id, {"config": [entry(bad, 100, envs={"SICK": "/app/server.py"})]}
        )
        assert answer.status_code == 200, answer.text
        log = wait_update(stack, service_id)
        assert log["result"] == "FAIL"
        told = " ".join(events(stack, service_id))
        assert "health check failed 2 times in a row: GET /health: status 503" in told
        running.wait_more(100)
        summary = running.stop()
        assert show(stack, service_id)["status"] == "running"
    assert summary.failed == []
    assert set(summary.versions) == {"1.0.0"}


def test_adopted_after_the_control_plane_was_killed(
    podman: Podman, images: Images, tmp_path: Path
) -> None:
    with Stack(env={"MODELYARD_CONTAINER_HOST": podman.socket}) as stack:
        first = import_image(stack, images.make("1.0.0"), "1.0.0")
        second = import_image(stack, images.make("2.0.0"), "2.0.0")
        with (
            service(stack, [entry(first, 100)]) as service_id,
            load(stack, service_id, tmp_path, rate=RATE) as running,
        ):
            running.wait_more(RATE)
            [before] = instances(stack, service_id)
            stack.kill_control_plane()
            running.wait_more(2 * RATE)
            stack.up()
            wait_status(stack, service_id, "running")
            [after] = instances(stack, service_id)
            assert (after["instance_id"], after["pid"]) == (before["instance_id"], before["pid"])
            # And it is led on as before.
            update(stack, service_id, [entry(second, 100)])
            running.wait_more(RATE)
            summary = running.stop()
        assert summary.failed == []
        assert set(summary.versions) == {"1.0.0", "2.0.0"}


def test_down_ends_containers_and_up_leaves_none(podman: Podman, images: Images) -> None:
    with Stack(env={"MODELYARD_CONTAINER_HOST": podman.socket}) as stack:
        model_id = import_image(stack, images.make("1.0.0"), "1.0.0")
        body = {
            "service_name": "down",
            "infer_type": "real-time",
            "config": [entry(model_id, 100)],
        }
        service_id = stack.api("POST", "/services", body)["service_id"]
        wait_status(stack, service_id, "running")
        [instance] = instances(stack, service_id)
        stack.down()
        assert not [n for n in podman.containers() if n.endswith(instance["instance_id"])]
        stack.up()
        until(lambda: predict(stack, service_id).status_code == 200, 60)


def test_killed_instance_is_replaced(platform: Stack, images: Images) -> None:
    stack = platform
    model_id = import_image(stack, images.make("1.0.0"), "1.0.0")
    with service(stack, [entry(model_id, 100)]) as service_id:
        [before] = instances(stack, service_id)
        os.kill(before["pid"], signal.SIGKILL)
        until(
            lambda: [
                one
                for one in instances(stack, service_id)
                if one["instance_id"] != before["instance_id"] and one["state"] == "ready"
            ],
            60,
        )
        until(lambda: predict(stack, service_id).status_code == 200, 30)


def test_https_containers(platform: Stack, images: Images) -> None:
    """Its certificate is nobody's: spoken to by TLS all the same, and probed so too."""
    stack = platform
    address = images.make("1.0.0")
    model_id = import_image(stack, address, "1.0.0", apis=[{"protocol": "https", "url": "/"}])
    with service(stack, [entry(model_id, 100, envs={"TLS": "1"})]) as service_id:
        assert predict(stack, service_id, "/x").json()["path"] == "/x"
        [instance] = instances(stack, service_id)
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{instance['port']}/", trust_env=False)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        url = f"https://127.0.0.1:{instance['port']}/"
        assert httpx.get(url, verify=context, trust_env=False).status_code == 200


def test_from_a_package_that_names_its_image(platform: Stack, images: Images) -> None:
    stack = platform
    config = {
        "model_type": "Image",
        "model_algorithm": "poetry",
        "swr_location": images.make("1.0.0"),
        "cmd": "/python/bin/python3 /app/server.py sonnet",
        "port": 9000,
        "apis": [{"url": "/predictions/poem", "method": "post"}],
        "readiness_health": {"check_method": "HTTP", "initial_delay_seconds": "0"},
    }
    folder = stack.home / "objects" / "images" / "poem" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    model_id = import_image(stack, "obs://images/poem/", "1.0.0")
    shown = stack.api("GET", f"/models/{model_id}")
    assert (shown["cmd"], shown["port"]) == (config["cmd"], 9000)
    assert shown["readiness_health"]["failure_threshold"] == 12
    with service(stack, [entry(model_id, 100, envs={"PORT": "9000"})]) as service_id:
        assert predict(stack, service_id).json()["arguments"] == ["sonnet"]


def test_a_package_is_served_by_the_image_that_its_runtime_names(
    platform: Stack, images: Images
) -> None:
    """The image knows nothing of the model; the package has even the program (models.md §6)."""
    stack, address = platform, images.make("1.0.0")
    folder = stack.home / "objects" / "images" / "paired" / "model"
    (folder / "words").mkdir(parents=True)
    (folder / "words" / "first.txt").write_text("roses")
    body = {
        "model_type": "Custom",
        "runtime": address,
        "initial_config": json.dumps({"port": "9001", "protocol": "http"}),
        "cmd": "/python/bin/python3 /app/server.py sonnet",
        "health": {"check_method": "HTTP", "initial_delay_seconds": "0", "period_seconds": "1"},
    }
    model_id = import_image(stack, "obs://images/paired/", "1.0.0", **body)
    shown = stack.api("GET", f"/models/{model_id}")
    assert (shown["model_type"], shown["runtime"], shown["port"]) == ("Custom", address, 9001)
    assert shown["image_address"] == address
    with service(stack, [entry(model_id, 100, envs={"PORT": "9001"})]) as service_id:
        assert predict(stack, service_id).json()["arguments"] == ["sonnet"]

        def there(file: str) -> bool:
            place = f"/home/mind/model/{file}"
            return bool(predict(stack, service_id, "/exists", file=place).json()["exists"])

        assert there("words/first.txt")
        assert not there("words/second.txt")
        # Read only: no instance changes what another one loads.
        predict(stack, service_id, "/touch", file="/home/mind/model/words/second.txt")
        until(
            lambda: predict(stack, service_id, "/touch", file="/tmp/alive").status_code == 200, 30
        )
        assert not there("words/second.txt")
    assert not (folder / "words" / "second.txt").exists()


def test_without_an_image_the_field_that_names_it_is_told(platform: Stack) -> None:
    folder = platform.home / "objects" / "images" / "alone" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "Custom"}')
    model = settled(platform, create(platform, "obs://images/alone/", "1.0.0", model_type="Custom"))
    assert model["model_status"] == "failed"
    assert "runtime: is required for the engine Custom" in model["failed_reason"]


def test_a_copy_stays_what_it_was_and_a_reference_does_not(
    platform: Stack, images: Images, podman: Podman
) -> None:
    stack = platform
    name = f"localhost/moving:{os.urandom(4).hex()}"
    podman.command("tag", images.make("1.0.0"), name)
    copy = import_image(stack, name, "1.0.0")
    reference = import_image(stack, name, "1.0.0", source_copy="false")
    assert stack.api("GET", f"/models/{reference}")["source_copy"] == "false"
    podman.command("tag", images.make("2.0.0"), name)
    with service(stack, [entry(copy, 100)]) as service_id:
        assert predict(stack, service_id).json()["version"] == "1.0.0"
    with service(stack, [entry(reference, 100)]) as service_id:
        assert predict(stack, service_id).json()["version"] == "2.0.0"
    held = f"localhost/modelyard:{copy}"
    assert podman.command("image", "exists", held, check=False) == ""
    stack.api("DELETE", f"/models/{copy}")
    assert held not in podman.command("images", "--format", "{{.Repository}}:{{.Tag}}").split()


def test_the_command_imports_images(platform: Stack, images: Images) -> None:
    address = images.make("1.0.0")
    words = ("model", "import", address, "--type", "Image", "--version", "3.0.0")
    shown = platform.json(*words)
    assert (shown["model_name"], shown["model_status"]) == ("server", "published")


def test_an_image_that_is_not_here_fails_the_import(platform: Stack) -> None:
    stack = platform
    model = settled(stack, create(stack, "registry.example.com/nobody/nothing:1", "1.0.0"))
    assert model["model_status"] == "failed"
    assert "registry.example.com/nobody/nothing:1 is not on this machine" in model["failed_reason"]
    assert "MODELYARD_IMAGE_PULL" in model["failed_reason"]
