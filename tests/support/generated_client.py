"""A user of the client that a public generator made of ``openapi.json``; runs beside that client.

    python generated_client.py ADDRESS TOKEN PROJECT_ID OLD_MODEL NEW_MODEL

Prints the predictions of both models as JSON.
"""

import json
import sys
import time
import uuid
from http import HTTPStatus

from modelyard_client import AuthenticatedClient
from modelyard_client.api.models import list_models
from modelyard_client.api.predictions import predict
from modelyard_client.api.services import (
    create_service,
    delete_service,
    list_services,
    show_service,
    show_service_update_logs,
    update_service,
)
from modelyard_client.models import (
    CreateServiceRequest,
    CreateServiceRequestInferType,
    PredictionRequest,
    ServiceConfig,
    UpdateServiceRequest,
)

address, token, project, *models = sys.argv[1:]
client = AuthenticatedClient(address, token, prefix="", auth_header_name="X-Auth-Token")


def version(model: str) -> ServiceConfig:
    return ServiceConfig(model, "modelarts.vm.cpu.2u", instance_count=1, weight="100")


def wait(reached) -> None:
    deadline = time.monotonic() + 90
    while not reached():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)


def answer() -> object:
    got = predict.sync_detailed(service, client=client, body=PredictionRequest())
    assert got.status_code == HTTPStatus.OK, got.content
    return json.loads(got.content)


known = list_models.sync(project, client=client).models
assert {model.model_id for model in known} >= set(models)

request = CreateServiceRequest(
    "generated", CreateServiceRequestInferType.REAL_TIME, config=[version(models[0])]
)
created = create_service.sync_detailed(
    project, client=client, body=request, idempotency_key=str(uuid.uuid4())
)
assert created.status_code == HTTPStatus.OK, created.content
service = created.parsed.service_id
wait(
    lambda: (
        show_service.sync(service_id=service, project_id=project, client=client).status == "running"
    )
)
first = answer()

shown = show_service.sync_detailed(service_id=service, project_id=project, client=client)
change = UpdateServiceRequest(config=[version(models[1])])
tag = shown.headers["ETag"]
stale = update_service.sync_detailed(
    service_id=service, project_id=project, client=client, body=change, if_match='"no-such-tag"'
)
assert stale.status_code == HTTPStatus.PRECONDITION_FAILED, stale.content
assert stale.parsed.error_code == "ModelArts.3519"
updated = update_service.sync_detailed(
    service_id=service, project_id=project, client=client, body=change, if_match=tag
)
assert updated.status_code == HTTPStatus.OK, updated.content
wait(
    lambda: all(
        log.result == "SUCCESS"
        for log in show_service_update_logs.sync(
            service_id=service, project_id=project, client=client
        ).logs
    )
)
second = answer()

listed = list_services.sync(project, client=client, service_name="generated")
assert [one.service_id for one in listed.services] == [service]
gone = delete_service.sync_detailed(service_id=service, project_id=project, client=client)
assert gone.status_code == HTTPStatus.OK, gone.content
missing = HTTPStatus.NOT_FOUND
wait(
    lambda: (
        show_service.sync_detailed(
            service_id=service, project_id=project, client=client
        ).status_code
        == missing
    )
)
json.dump([first, second], sys.stdout)
