"""Through the gateway: PATCH, ETag, repeated calls, tags, and the past of a service."""

from __future__ import annotations

import time
from pathlib import Path

from live import entry, get, import_echo, path, service, show, until, update, wait_update
from stack import Stack


def test_a_service_is_patched_tagged_and_taken_back(stack: Stack, tmp_path: Path) -> None:
    first, second = (import_echo(stack, tmp_path, "past", f"{n}.0.0") for n in (1, 2))
    quick = {"additional_properties": {"termination_grace_period_seconds": 1}}
    with service(stack, [entry(first, 100, **quick)]) as service_id:
        url = path(stack, service_id)
        assert stack.predict(service_id, {}).json()["version"] == "1.0.0"
        began = int(time.time() * 1000)
        update(stack, service_id, [entry(second, 100, **quick)])

        tag = stack.client.get(url).headers["ETag"]
        patch = [{"op": "replace", "path": "/config/0/instance_count", "value": "2"}]
        headers = {"If-Match": tag, "Idempotency-Key": f"patch {service_id}"}
        answers = [stack.client.patch(url, json=patch, headers=headers) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
        assert answers[0].json() == answers[1].json()
        late = stack.client.put(url, json={"description": "late"}, headers={"If-Match": tag})
        assert late.status_code == 412, late.text
        assert wait_update(stack, service_id)["result"] == "SUCCESS"

        tags = {"tags": [{"key": "env", "value": "prod"}]}
        assert stack.client.post(f"{url}/tags/create", json=tags).status_code == 204
        assert show(stack, service_id)["tags"] == tags["tags"]
        gone = stack.client.request("DELETE", f"{url}/tags/delete", json={"tags": [{"key": "env"}]})
        assert gone.status_code == 204, gone.text

        back = stack.client.post(f"{url}/revisions/1/rollback")
        assert back.status_code == 200, back.text
        assert wait_update(stack, service_id)["result"] == "SUCCESS"
        answer = stack.predict(service_id, {})
        assert answer.json()["version"] == "1.0.0"
        listed = get(stack, f"{url}/revisions")["revisions"]
        assert [one["number"] for one in listed] == [4, 3, 2, 1]
        assert listed[0]["origin"] == 1
        assert listed[0]["config"] == listed[3]["config"]
        assert get(stack, f"{url}/served", at=began)["revision"] == 1
        assert get(stack, f"{url}/served", at=int(time.time() * 1000))["revision"] == 4

        request_id = answer.headers["X-Request-Id"]

        def logged() -> bool:
            return stack.client.get(f"{url}/requests/{request_id}").status_code == 200

        until(logged, 20)
        found = get(stack, f"{url}/requests/{request_id}")
        assert (found["revision"], found["model_version"]) == (4, "1.0.0")
        assert found["instance_id"] == answer.headers["X-Modelyard-Instance"]
