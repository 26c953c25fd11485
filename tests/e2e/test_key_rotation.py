"""Rotating the keys that sign tokens: nobody is locked out."""

from __future__ import annotations

from pathlib import Path

import httpx

from live import entry, import_echo, service, until
from stack import Stack


def test_tokens_of_former_keys_stay_good(stack: Stack, tmp_path: Path) -> None:
    model = import_echo(stack, tmp_path, "rotation", "1.0.0")
    with service(stack, [entry(model, 100, 1)]) as service_id:
        url = f"{stack.address}/v1/infers/{service_id}"

        def status(token: str) -> int:
            headers = {"X-Auth-Token": token}
            return httpx.post(url, json={"a": 1}, headers=headers, trust_env=False).status_code

        before = stack.run("token").stdout.strip()
        keys = stack.json("iam", "rotate-keys")["keys"]
        assert len(keys) >= 2
        after = stack.run("token").stdout.strip()
        assert before != after
        until(lambda: status(after) == 200, 10)
        assert status(before) == 200
