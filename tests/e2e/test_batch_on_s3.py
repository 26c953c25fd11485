"""A batch service over the API whose object store is a real S3 server, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from live import Json, delete, get, path, wait_status
from model_folders import write_package
from stack import Stack

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
SCHEMA: Json = {"type": "object", "properties": {"n": {"type": "integer"}}}
RULE: Json = {"type": "object", "properties": {"n": {"type": "integer", "index": 0}}}


@pytest.fixture
def s3() -> Iterator[Any]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    for bucket in ("models", "inbox", "outbox"):
        client.create_bucket(Bucket=bucket)
    yield client
    client.close()
    server.stop()


def test_a_batch_service_on_s3(s3: Any, tmp_path: Path) -> None:
    api = {
        "url": "/",
        "method": "post",
        "request": {"Content-type": "application/json", "data": SCHEMA},
    }
    package = write_package(tmp_path / "echo", "1.0.0", apis=[api])
    for file in (package / "model").iterdir():
        s3.upload_file(str(file), "models", f"echo/model/{file.name}")
    rows = "".join(f"{n}\n" for n in range(200))
    s3.put_object(Bucket="inbox", Key="people/table.csv", Body=rows.encode())
    store = s3.meta.endpoint_url
    with Stack(env={"MODELYARD_OBJECT_STORE": store, **KEYS}) as stack:
        body: Json = {
            "model_name": "echo",
            "model_version": "1.0.0",
            "model_type": "PyTorch",
            "source_location": "obs://models/echo/",
        }
        model_id = stack.api("POST", "/models", body)["model_id"]
        stack.wait_for(
            lambda: stack.api("GET", f"/models/{model_id}")["model_status"] == "published"
        )
        job = {
            "model_id": model_id,
            "specification": "modelarts.vm.cpu.2u",
            "instance_count": 1,
            "src_path": "https://inbox.s3.example.com/people/?Signature=void",
            "dest_path": "s3://outbox/res",
            "req_uri": "/",
            "mapping_type": "csv",
            "mapping_rule": RULE,
        }
        body = {"service_name": "on-s3", "infer_type": "batch", "config": [job]}
        for key, missing in (("src_path", "obs://no-such/x/"), ("dest_path", "obs://no-such/x/")):
            bad = {**body, "config": [{**job, key: missing}]}
            answer = stack.client.post(path(stack), json=bad)
            assert (answer.status_code, answer.json()["error_code"]) == (400, "ModelArts.3551")
            assert f"config[0].{key}" in answer.json()["error_msg"]
        answer = stack.client.post(path(stack), json=body)
        assert answer.status_code == 200, answer.text
        service_id = answer.json()["service_id"]
        service = wait_status(stack, service_id, "finished")
        task_id = service["config"][0]["task_id"]
        key = f"res/infer-result-{task_id}/table.csv_result.txt"
        lines = s3.get_object(Bucket="outbox", Key=key)["Body"].read().decode().splitlines()
        assert [json.loads(line)["echo"]["n"] for line in lines] == list(range(200))
        run = get(stack, path(stack, service_id, f"runs/{task_id}"))
        assert run["manifests"] == [f"obs://outbox/res/infer-result-{task_id}.manifest"]
        delete(stack, service_id)
