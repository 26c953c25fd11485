"""Route configuration of one service, and the one of everything else (pure).

A request that got this far has a verified token (``listener.py``); what is left to judge
here is the token's project, the method, and whether the service serves.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from envoy.config.common.mutation_rules.v3 import mutation_rules_pb2
from envoy.config.core.v3 import base_pb2, extension_pb2
from envoy.config.route.v3 import route_components_pb2 as route
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.buffer.v3 import buffer_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.extensions.router.cluster_specifiers.lua.v3 import lua_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2, value_pb2
from envoy.type.v3 import percent_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value, UInt64Value

from modelyard.domain.service.traffic import LoadBalancerPolicy, ServiceTraffic, VersionTraffic
from modelyard.gateway.config.resources import names
from modelyard.gateway.config.resources.clusters import duration, packed
from modelyard.gateway.config.routing.route_parts import (
    error_answer,
    project_is,
    refusal,
    set_header,
    token_project,
)
from modelyard.gateway.config.routing.websockets import (
    NO_UPGRADE,
    asks_upgrade,
    no_handshake,
    no_websockets,
    upgraded,
)
from modelyard.gateway.config.routing.wrr_lua import Weighted, lua_program

_OTHER_HOST = "envoy.retry_host_predicates.previous_hosts"
_SPLIT = "split"
_IDLE_BEYOND_TIMEOUT_S = 60.0
_ENVOY_HEADERS = ("x-envoy-external-address", "x-envoy-internal")
# What callers may not show an instance: their token, and marks that only the platform sets.
_SECRET_HEADERS = (
    names.TOKEN_HEADER,
    "x-subject-token",
    "x-modelyard-health",
    names.SHADOW_HEADER,
)
_CONTROL_PLANE_TIMEOUT_S = 300.0


@cache
def _retries(retry_resets: bool) -> Message:
    """Repeat elsewhere what no instance has begun, or (``retry_resets``) has not answered."""
    causes = ["connect-failure", "refused-stream", "reset-before-request", "retriable-headers"]
    not_computed = route.HeaderMatcher(
        name=names.NOT_COMPUTED_HEADER, string_match=string_pb2.StringMatcher(exact="1")
    )
    policy: Message = route.RetryPolicy(
        retry_on=",".join([*causes, "reset"] if retry_resets else causes),
        retriable_headers=[not_computed],
        num_retries=UInt32Value(value=4),
        retry_host_predicate=[
            route.RetryPolicy.RetryHostPredicate(
                name=_OTHER_HOST, typed_config=packed(previous_hosts_pb2.PreviousHostsPredicate())
            )
        ],
        host_selection_retry_max_attempts=20,
        retry_back_off=route.RetryPolicy.RetryBackOff(
            base_interval=duration(0.005), max_interval=duration(0.05)
        ),
    )
    return policy


def version_cluster_name(service_id: str, version: VersionTraffic) -> str:
    """Name of the cluster of ``version``."""
    return names.cluster_name(
        service_id, version.model_id, version.variant, shadow=version.gets_copies
    )


def shares(traffic: ServiceTraffic) -> list[tuple[str, int]]:
    """(cluster, weight) of the versions that get requests now (inference.md §1.4).

    A version without a ready instance leaves its share to the others; when none has one, all keep
    theirs, and Envoy answers that no instance is ready. Equal names cannot occur.
    """
    weighted = [version for version in traffic.versions if version.weight > 0]
    ready = [version for version in weighted if version.endpoints]
    return [
        (version_cluster_name(traffic.service_id, version), version.weight)
        for version in ready or weighted
    ]


def _mirrors(traffic: ServiceTraffic) -> list[Message]:
    """Copies of a share of the predictions, to versions without weight that have instances.

    A copy is sent once and not repeated; what becomes of it, the prediction does not notice.
    """
    mark = mutation_rules_pb2.HeaderMutation(append=set_header(names.SHADOW_HEADER, "1"))
    return [
        route.RouteAction.RequestMirrorPolicy(
            cluster=version_cluster_name(traffic.service_id, version),
            runtime_fraction=base_pb2.RuntimeFractionalPercent(
                default_value=percent_pb2.FractionalPercent(numerator=version.shadow)
            ),
            disable_shadow_host_suffix_append=True,
            request_headers_mutations=[mark],
        )
        for version in traffic.versions
        if version.gets_copies and version.endpoints
    ]


def _revision(traffic: ServiceTraffic) -> str:
    """The value of the revision's header: a number, or an expression that picks one by version."""
    own = {
        version_cluster_name(traffic.service_id, version): version.revision
        for version in traffic.versions
        if version.revision not in (None, traffic.revision) and version.weight > 0
    }
    if not own:
        return str(traffic.revision)
    choice = f'"{traffic.revision}"'
    for cluster, number in own.items():
        choice = f'xds.cluster_name == "{cluster}" ? "{number}" : {choice}'
    return f"%CEL({choice})%"


def _tells(traffic: ServiceTraffic) -> list[Message]:
    """Headers that say who answered, for those who do not say it; empty values add nothing."""
    if not any(version.bare for version in traffic.versions):
        return []
    told = ((names.VERSION_HEADER, names.VERSION), (names.INSTANCE_HEADER, names.INSTANCE))
    return [
        set_header(header, f"%UPSTREAM_METADATA({names.ENDPOINT_METADATA}:{key})%")
        for header, key in told
    ]


def _splitter(targets: Weighted) -> Message:
    """The program that picks the version of each request, shared by the routes of a service."""
    program = lua_pb2.LuaConfig(
        source_code=base_pb2.DataSource(inline_string=lua_program(targets)),
        default_cluster=targets[0][0],
    )
    extension = extension_pb2.TypedExtensionConfig(name=_SPLIT, typed_config=packed(program))
    plugin: Message = route.ClusterSpecifierPlugin(extension=extension)
    return plugin


def _forward(traffic: ServiceTraffic, targets: Weighted, retry_resets: bool) -> Message:
    """To the one cluster, or by the exact split to several; as if sent to the instance's root."""
    hashing = []
    if traffic.policy is LoadBalancerPolicy.SOURCE_IP:
        by_source = route.RouteAction.HashPolicy.ConnectionProperties(source_ip=True)
        hashing = [route.RouteAction.HashPolicy(connection_properties=by_source)]
    single = len(targets) == 1
    action: Message = route.RouteAction(
        cluster=targets[0][0] if single else None,
        cluster_specifier_plugin=None if single else _SPLIT,
        prefix_rewrite="/",
        timeout=duration(traffic.timeout_s),
        idle_timeout=duration(traffic.timeout_s + _IDLE_BEYOND_TIMEOUT_S),
        retry_policy=_retries(retry_resets),
        hash_policy=hashing,
        request_mirror_policies=_mirrors(traffic),
    )
    return action


def _methods(methods: Sequence[str]) -> Message:
    wanted = regex_pb2.RegexMatcher(regex="|".join(re.escape(name) for name in sorted(methods)))
    match: Message = route.HeaderMatcher(
        name=":method", string_match=string_pb2.StringMatcher(safe_regex=wanted)
    )
    return match


def _serving(traffic: ServiceTraffic, targets: Weighted, retry_resets: bool) -> list[Message]:
    address = f"{names.INFERS}/{traffic.service_id}"
    rightful = project_is(traffic.project_id)
    conditions = {"headers": [_methods(traffic.methods)], "dynamic_metadata": [rightful]}
    # The Open Inference Protocol asks for metadata and health by GET.
    under_v2 = route.HeaderMatcher(
        name=":path", string_match=string_pb2.StringMatcher(prefix=f"{address}/v2")
    )
    asking = {**conditions, "headers": [_methods(("GET",)), under_v2]}
    forward = _forward(traffic, targets, retry_resets)
    predictions = [
        _prediction(traffic, match, forward)
        for match in (
            route.RouteMatch(path=address, **conditions),
            route.RouteMatch(prefix=f"{address}/", **conditions),
            route.RouteMatch(prefix=f"{address}/", **asking),
        )
    ]
    allowed = ", ".join(sorted(traffic.methods))
    wrong_method = refusal(
        "method",
        route.RouteMatch(prefix="/", dynamic_metadata=[rightful]),
        error_answer(405, "0101", f"Method Not Allowed. This service answers to {allowed}."),
        set_header("allow", allowed),
    )
    return [*_websockets(traffic, forward, rightful), *predictions, wrong_method]


def _websockets(traffic: ServiceTraffic, forward: Message, rightful: Message) -> list[Message]:
    """Ahead of the predictions: to the instance like one of them, or a refusal."""
    upgrade = route.RouteMatch(prefix="/", headers=[asks_upgrade()], dynamic_metadata=[rightful])
    if traffic.websocket_idle_s is None:
        return [no_websockets(traffic.service_id, upgrade)]
    address = f"{names.INFERS}/{traffic.service_id}"
    conditions = {"headers": [asks_upgrade(), _methods(("GET",))], "dynamic_metadata": [rightful]}
    forward = upgraded(forward, traffic.websocket_idle_s)
    return [
        _prediction(traffic, route.RouteMatch(path=address, **conditions), forward),
        _prediction(traffic, route.RouteMatch(prefix=f"{address}/", **conditions), forward),
        no_handshake(upgrade),
    ]


def _prediction(traffic: ServiceTraffic, match: Message, forward: Message) -> Message:
    result: Message = route.Route(
        name=names.PREDICT,
        match=match,
        route=forward,
        request_headers_to_remove=[names.SCOPE_HEADER, *_ENVOY_HEADERS, *_SECRET_HEADERS],
        response_headers_to_add=[
            set_header(names.REVISION_HEADER, _revision(traffic)),
            *_tells(traffic),
        ],
        response_headers_to_remove=[names.NOT_COMPUTED_HEADER],
        request_body_buffer_limit=UInt64Value(value=traffic.body_limit),
    )
    return result


def _idle(traffic: ServiceTraffic) -> list[Message]:
    """Answers of a service that takes no predictions now."""
    name = "idle"
    if traffic.serving:
        name = f"{names.UNSERVED}{traffic.service_id}"
        message = f"Service {traffic.service_id} has no model version that carries traffic."
        answer = error_answer(503, "4302", message)
    else:
        message = f"Service {traffic.service_id} is not running. Start it, then try again."
        answer = error_answer(400, "4203", message)
    match = route.RouteMatch(prefix="/", dynamic_metadata=[project_is(traffic.project_id)])
    return [refusal(name, match, answer)]


@cache
def _strangers() -> tuple[Message, ...]:
    """Answers to tokens of another project, and to those of none (iam.md §5)."""
    some_project = token_project(value_pb2.ValueMatcher(present_match=True))
    return (
        refusal(
            "foreign",
            route.RouteMatch(prefix="/", dynamic_metadata=[some_project]),
            error_answer(403, "0210", "The token belongs to another project than the service."),
        ),
        refusal(
            "projectless",
            route.RouteMatch(prefix="/"),
            error_answer(401, "0212", "The token has no project. Ask for one with scope.project."),
        ),
    )


def _body_limit(limit: int) -> AnyMessage:
    """Answer 413 to bodies of more than ``limit`` bytes, however they are framed."""
    most = buffer_pb2.Buffer(max_request_bytes=UInt32Value(value=limit))
    return packed(buffer_pb2.BufferPerRoute(buffer=most))


def service_routes(traffic: ServiceTraffic, retry_resets: bool) -> Message:
    """The route configuration of one service; its name is the service's id.

    Only requests of this service's scope get here. They are routed twice: first to a refusal,
    whatever they carry, and again when the token has been verified. Nothing can be reached by
    skipping the check, and refused requests take no turn in the split.
    """
    targets = shares(traffic)
    live = traffic.serving and bool(targets)
    own = _serving(traffic, targets, retry_resets) if live else _idle(traffic)
    result: Message = route_pb2.RouteConfiguration(
        name=traffic.service_id,
        virtual_hosts=[
            route.VirtualHost(
                name=traffic.service_id,
                domains=["*"],
                routes=[*own, *_strangers()],
                typed_per_filter_config={names.BUFFER_FILTER: _body_limit(traffic.body_limit)},
            )
        ],
        cluster_specifier_plugins=[_splitter(targets)] if live and len(targets) > 1 else [],
        validate_clusters=BoolValue(value=False),
    )
    return result


def control_plane_routes() -> Message:
    """Everything that is not the address of a service, to the control plane."""
    missing = error_answer(
        400, "4201", f"The URL names no service. Call {names.INFERS}/{{service_id}}."
    )
    retry = route.RetryPolicy(
        retry_on="connect-failure",
        num_retries=UInt32Value(value=5),
        retry_back_off=route.RetryPolicy.RetryBackOff(
            base_interval=duration(0.1), max_interval=duration(1)
        ),
    )
    forward = route.Route(
        name=names.CONTROL_PLANE,
        match=route.RouteMatch(prefix="/"),
        route=route.RouteAction(
            cluster=names.CONTROL_PLANE,
            timeout=duration(_CONTROL_PLANE_TIMEOUT_S),
            idle_timeout=duration(_CONTROL_PLANE_TIMEOUT_S),
            retry_policy=retry,
            upgrade_configs=[NO_UPGRADE],
        ),
        request_headers_to_remove=[names.SCOPE_HEADER, *_ENVOY_HEADERS],
    )
    result: Message = route_pb2.RouteConfiguration(
        name=names.CONTROL_PLANE,
        virtual_hosts=[
            route.VirtualHost(
                name=names.CONTROL_PLANE,
                domains=["*"],
                routes=[
                    refusal("nameless", route.RouteMatch(path=names.INFERS), missing),
                    refusal("nameless", route.RouteMatch(path=f"{names.INFERS}/"), missing),
                    forward,
                ],
                typed_per_filter_config={
                    names.BUFFER_FILTER: _body_limit(names.CONTROL_PLANE_BODY_MIB * 1024 * 1024),
                },
            )
        ],
    )
    return result
