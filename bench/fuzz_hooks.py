"""What schemathesis cannot know of the API (``fuzz.py``)."""

from __future__ import annotations

import os
import random
import re
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, CheckContext, GenerationMode, Response

MODEL, SERVICE = os.environ["FUZZ_MODEL"], os.environ["FUZZ_SERVICE"]
_random = random.Random(1)

# Refusals that depend on more than the body's form: on the state, on other members, on settings.
_BY_STATE = re.compile(
    "|".join(
        (
            r"does not exist",
            r"is not in the service",
            r"is not a known flavor",
            r"the weights sum to",
            r"config\[\d+\]\.weight: Parameter",
            r"instance_count.*out of range",
            r"changed_value.*(?:out of range|present count)",
            r"dedicated resource pool",
            r"dedicated pool",
            r"must be applied for",
            r"twice",
            r"nested",
            r"not allowed in|is allowed|forbids|cannot be (?:changed|turned off|scaled)",
            r"real-time services only",
            r"has no runs|has no node|has no failures",
            r"own networks are not supported|subnet_network_id",
            r"takes effect only together with steps",
            r"does not rise above",
            r"answers predictions itself",
            r"names no model version|There are \d+, from 0",
            r"is not in the past|is no moment",
            r"plan_token|dry_run|Idempotency-Key|If-Match",
            r"quota|limit of|services may|instances may|at most \d+ (?:services|instances)",
            r"system's directories",
            r"is for (?:images|packages) only|mixes http and https|holds several apis",
            r"is not the url of a package|ends? with|no such|names no bucket|object path|bucket",
            r"auth\.(?:scope|identity)",
            r"cannot be combined",
            r"config cannot be empty|Send at least one model version|has one: send a service",
            r"is not running|would have \d+ tags",
            # Needed where another member is missing; the content of a document of the package.
            r"persistent_volumes\[\d+\]\.(?:name|source_address)|initial_config\.",
            r"is not the address of an image",
            r"src_path|dest_path|req_uri|mapping_type|mapping_rule",
        )
    )
)


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    """Half of the bodies name the model that there is, and few instances."""
    if _random.random() < 0.5:
        _name_model(body)
    return body


def _name_model(value: Any) -> None:
    if isinstance(value, dict):
        if isinstance(value.get("model_id"), str):
            value["model_id"] = MODEL
            if "specification" in value:
                value["specification"] = "modelarts.vm.cpu.2u"
        for inner in value.values():
            _name_model(inner)
    elif isinstance(value, list):
        for inner in value:
            _name_model(inner)


@schemathesis.hook
def map_path_parameters(context: schemathesis.HookContext, path_parameters: Any) -> Any:
    """Half of the paths name the service that there is; nothing may delete it."""
    method = context.operation.method.lower()
    named = path_parameters and "service_id" in path_parameters
    if named and method != "delete" and _random.random() < 0.5:
        path_parameters["service_id"] = SERVICE
    return path_parameters


@schemathesis.hook
def filter_path_parameters(context: schemathesis.HookContext, path_parameters: Any) -> bool:
    """The service and the model stay."""
    named = (path_parameters or {}).values()
    return context.operation.method.lower() != "delete" or not ({MODEL, SERVICE} & set(named))


schemathesis.openapi.format("json-object", st.just("{}"))
schemathesis.openapi.format("json-list", st.just("[]"))


@schemathesis.check
def accepts_every_documented_form(ctx: CheckContext, response: Response, case: Case) -> None:
    """A body that fits the contract is not refused for its form."""
    meta = case.meta
    if meta is None or meta.generation.mode is not GenerationMode.POSITIVE:
        return
    if response.status_code != 400:
        return
    answer = response.json()
    if "error" in answer:
        answer = {"error_msg": answer["error"]["message"]}
    problems = answer.get("problems") or [answer]
    for problem in problems:
        text = f"{problem.get('field', '')}: {problem.get('reason', '')} {problem.get('remedy')}"
        text += answer.get("error_msg", "") if problem is answer else ""
        # What a patch makes of the configuration depends on the configuration.
        patched = problem.get("field", "").startswith("/")
        if answer.get("error_code") == "ModelArts.3519" or patched or _BY_STATE.search(text):
            continue
        raise AssertionError(f"a request that fits the contract was refused: {text}")
