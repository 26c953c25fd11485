"""Rotating the keys that sign tokens: nobody is locked out, not for a moment."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import httpx

from live import entry, import_echo, service, until
from stack import Stack


def test_every_token_is_good_at_once_and_stays_so(stack: Stack, tmp_path: Path) -> None:
    model = import_echo(stack, tmp_path, "rotation", "1.0.0")
    with service(stack, [entry(model, 100, 1)]) as service_id:
        url = f"{stack.address}/v1/infers/{service_id}"

        def status(token: str) -> int:
            headers = {"X-Auth-Token": token}
            return httpx.post(url, json={"a": 1}, headers=headers, trust_env=False).status_code

        seen: Counter[int] = Counter()
        over = threading.Event()

        def log_in_and_predict() -> None:
            while not over.is_set():
                seen[status(stack.token())] += 1

        before = stack.token()
        client = threading.Thread(target=log_in_and_predict)
        client.start()
        try:
            for _ in range(3):
                former = sum(seen.values())
                keys = stack.json("iam", "rotate-keys")["keys"]
                assert status(stack.token()) == 200
                until(lambda former=former: sum(seen.values()) > former + 2, 20)
        finally:
            over.set()
            client.join()
        assert len(keys) >= 4
        assert seen.keys() == {200}, seen
        assert status(before) == 200
