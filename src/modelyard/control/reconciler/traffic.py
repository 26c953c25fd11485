"""Build what the gateway publishes from a split of instance ids; pure."""

from __future__ import annotations

from modelyard.domain.admission.websocket_upgrade import takes_websockets
from modelyard.domain.rollout.traffic_split import Split
from modelyard.domain.service.traffic import Endpoint, ServiceTraffic, VersionTraffic
from modelyard.settings import Settings
from modelyard.store.service.state import ServiceState

_INSTANCE_FIRST_S = 0.5
"""An instance ends a prediction that takes too long, with a reason. With the same limit the gateway
would now and then cut that answer off between its head and its body.
"""

_BEYOND_PREDICTION_S = 10.0


def traffic_of(
    state: ServiceState,
    split: Split | None,
    addresses: dict[str, tuple[str, int]],
    settings: Settings,
) -> ServiceTraffic:
    """Build the traffic of a service; ``addresses``: host and port of each instance by id."""
    service = state.service
    versions = () if split is None else _versions(state, split, addresses)
    revision = split.revision if split else service.desired_revision
    return ServiceTraffic(
        service_id=service.id,
        project_id=service.project_id,
        revision=revision,
        serving=split is not None,
        versions=versions,
        policy=state.revisions[revision].policy,
        timeout_s=settings.predictions.prediction_timeout + _INSTANCE_FIRST_S,
        body_limit=settings.predictions.prediction_body_limit,
        methods=_methods(state),
        websocket_idle_s=_websocket_idle_s(state, settings),
    )


def _versions(
    state: ServiceState, split: Split, addresses: dict[str, tuple[str, int]]
) -> tuple[VersionTraffic, ...]:
    return tuple(
        VersionTraffic(
            model_id=share.model_id,
            model_name=state.models[share.model_id].name,
            model_version=state.models[share.model_id].version,
            weight=share.weight,
            endpoints=tuple(
                Endpoint(instance_id, *addresses[instance_id])
                for instance_id in share.endpoints
                if instance_id in addresses
            ),
            variant=share.variant,
            shadow=share.shadow,
            revision=share.revision,
            bare=bool(state.models[share.model_id].image),
            tls=state.models[share.model_id].container.get("protocol") == "https",
        )
        for share in split.shares
        if share.model_id in state.models
    )


def _methods(state: ServiceState) -> tuple[str, ...]:
    """POST, and what the models' apis declare besides (inference.md §1)."""
    declared = {
        str(api.get("method", "post")).upper()
        for model in state.models.values()
        for api in model.apis
    }
    return tuple(sorted({"POST"} | (declared & {"GET", "PUT", "DELETE", "PATCH"})))


def _websocket_idle_s(state: ServiceState, settings: Settings) -> float | None:
    """None: the service takes no WebSockets. Never shorter than a prediction, which is silent."""
    if not takes_websockets(state.service.additional_properties):
        return None
    return max(
        settings.predictions.websocket_idle_timeout,
        settings.predictions.prediction_timeout + _BEYOND_PREDICTION_S,
    )
