"""The body of ``POST /models``: all of it checked, then one typed value (models.md §1.1); pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from modelyard.errors import InvalidRequest, Problem, refuse
from modelyard.objects.paths import parse_path
from modelyard.packages.config.apis import Api, JsonDict, parse_apis
from modelyard.packages.config.config_json import (
    ConfigResult,
    algorithm_fault,
    parse_config,
    parse_metrics,
    runtime_fault,
)
from modelyard.packages.config.images import (
    CONTAINERS,
    CUSTOM,
    IMAGE,
    PROBES,
    ContainerWish,
    address_problem,
    image_fault,
    is_address,
    parse_wish,
)
from modelyard.packages.config.params import parse_params
from modelyard.packages.config.requirements import Installation, parse_dependencies, parse_policy
from modelyard.packages.documents import DocumentError, parse_json, unstorable, wrong_type
from modelyard.packages.engines import SUPPORTED, engine_named

_NAME = re.compile(r"[\w-]{1,64}")
_VERSION = re.compile(r"(0|[1-9]\d?)\.(0|[1-9]\d?)\.(0|[1-9]\d?)", re.ASCII)
_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)
_FORBIDDEN = "&!'\"<>="
INSTALL_TYPES = ("real-time", "batch")
_KNOWN = (
    *("model_name", "model_version", "source_location", "model_type", "runtime", "description"),
    *("initial_config", "execution_code", "apis", "input_params", "output_params"),
    *(
        "dependencies",
        "dependency_policy",
        "model_algorithm",
        "model_metrics",
        "install_type",
        "source_job_id",
    ),
    *("source_job_version", "source_type", "source_copy", "model_docs", "workspace_id"),
    *("cmd", "port", *PROBES),
)
_UNSUPPORTED = {
    "template": "templates are not supported; import a package",
}
_OF_IMAGES = ("cmd", "port", *PROBES)
_OF_PACKAGES = ("dependencies", "execution_code")


@dataclass(frozen=True, slots=True)
class NewModel:
    """A model that may be created. None and "" mean that the package decides.

    ``container`` and ``source_copy``: of images; False follows what becomes of the address. The
    ``runtime`` of a ``Custom`` model is an image's address.
    """

    name: str
    version: str
    source_location: str
    model_type: str
    runtime: str = ""
    description: str = ""
    initial_config: JsonDict | None = None
    execution_code: str = ""
    apis: tuple[Api, ...] | None = None
    input_params: tuple[JsonDict, ...] | None = None
    output_params: tuple[JsonDict, ...] | None = None
    dependencies: tuple[Installation, ...] | None = None
    dependency_policy: str = ""
    model_algorithm: str = ""
    model_metrics: dict[str, float] | None = None
    install_type: tuple[str, ...] = INSTALL_TYPES
    source_job_id: str = ""
    source_job_version: str = ""
    source_type: str = ""
    model_docs: tuple[JsonDict, ...] = ()
    workspace_id: str = "0"
    container: ContainerWish = field(default_factory=ContainerWish)
    source_copy: bool = True
    warnings: tuple[str, ...] = field(default=())


def version_order(version: str) -> int:
    """A version ``a.b.c`` as one number that sorts as versions do."""
    major, minor, patch = (int(part) for part in version.split("."))
    return major * 10_000 + minor * 100 + patch


def check_creation(body: Mapping[str, object], new_name: str) -> NewModel:
    """What the body asks for; ``new_name`` is used when it names no model.

    Raises ``InvalidRequest`` with every problem found.
    """
    fault = unstorable(dict(body))
    if fault:
        raise refuse([Problem("body", fault, "Send plain text.", code="3037")])
    check = _Checker(body)
    model = check.model(new_name)
    if check.problems:
        raise refuse(check.problems)
    return model


class _Checker:
    """Goes through one body and gathers what is wrong with it."""

    def __init__(self, body: Mapping[str, object]) -> None:
        # Blank and null mean absent throughout this API.
        self.body = {key: value for key, value in body.items() if value not in (None, "")}
        self.problems: list[Problem] = []

    def model(self, new_name: str) -> NewModel:
        model_type = self._model_type()
        self._type = model_type
        self._image = model_type in CONTAINERS
        self._unknown_fields()
        initial = self._initial_config()
        return NewModel(
            name=self._name(new_name),
            version=self._version(),
            source_location=self._source(),
            model_type=model_type,
            runtime=self._runtime(),
            description=self._description(),
            initial_config=initial.config.document if initial and initial.config else None,
            execution_code=self._path("execution_code", needed=False),
            apis=self._apis(),
            input_params=self._params("input_params"),
            output_params=self._params("output_params"),
            dependencies=self._dependencies(),
            dependency_policy=parse_policy(
                self.body.get("dependency_policy"), "dependency_policy", self.problems
            ),
            model_algorithm=self._algorithm(),
            model_metrics=self._metrics(),
            install_type=self._install_type(),
            source_job_id=self._matching("source_job_id", _ID, "an id"),
            source_job_version=self._matching("source_job_version", _ID, "a version"),
            source_type=self._source_type(),
            model_docs=self._docs(),
            workspace_id=self._workspace(),
            container=self._container(),
            source_copy=self._source_copy(),
            warnings=initial.warnings if initial else (),
        )

    def _refuse(self, where: str, reason: str, remedy: str, code: str = "3037") -> None:
        self.problems.append(Problem(where, reason, remedy, code=code))

    def _text(self, key: str) -> str:
        value = self.body.get(key, "")
        if not isinstance(value, str):
            self.problems.append(wrong_type(key, "a string", value, "3037"))
            return ""
        return value

    def _matching(self, key: str, pattern: re.Pattern[str], what: str) -> str:
        value = self._text(key)
        if value and not pattern.fullmatch(value):
            self._refuse(key, f"{value[:80]!r} is not {what}", "Correct it or leave it out.")
        return value

    def _document(self, key: str) -> object:
        """A list or object, which some clients send as JSON text; None when absent or broken."""
        value = self.body.get(key)
        if not isinstance(value, str):
            return value
        try:
            return parse_json(value.encode(), key)
        except DocumentError as error:
            self._refuse(key, str(error), "Send a JSON list.")
            return None

    def _unknown_fields(self) -> None:
        for key in self.body:
            if key in _UNSUPPORTED:
                self._refuse(key, _UNSUPPORTED[key], "Leave it out.")
            elif key not in _KNOWN:
                self._refuse(key[:64] or "''", "is not a field of this call", "Leave it out.")
            elif key in _OF_IMAGES and not self._image:
                self._refuse(key, "is for images only", "Leave it out.")
            elif key in _OF_PACKAGES and self._image and self.body[key] != []:
                self._refuse(key, "is for packages only", "Put it into the image.")

    def _source(self) -> str:
        """A folder of objects or, of an image, its address."""
        value = self.body.get("source_location")
        if not (self._type == IMAGE and isinstance(value, str) and is_address(value)):
            return self._path("source_location", needed=True)
        problem = address_problem(value, "source_location")
        if problem:
            self.problems.append(problem)
        return value

    def _container(self) -> ContainerWish:
        # The address stands in source_location here; only config.json has another place for it.
        said = {key: self.body[key] for key in _OF_IMAGES if key in self.body}
        return parse_wish(said, "", "3037", self.problems) if self._image else ContainerWish()

    def _source_copy(self) -> bool:
        word = str(self.body.get("source_copy", "true")).lower()
        if word not in ("true", "false"):
            self._refuse("source_copy", f"{word[:40]!r} is unknown", "Use true or false.")
        elif word == "false" and self._type != IMAGE:
            # Packages are always copied, so only the other wish cannot be met.
            self._refuse("source_copy", "false is for images only", "Leave it out.")
        return word != "false"

    def _name(self, new_name: str) -> str:
        value = self._text("model_name")
        if not value:
            return new_name
        if not _NAME.fullmatch(value):
            remedy = "Use 1 to 64 letters, digits, '-' and '_'."
            self._refuse("model_name", f"{value[:80]!r} is not a model name", remedy)
        return value

    def _version(self) -> str:
        value = self._text("model_version")
        remedy = "Write three numbers from 0 to 99 without leading zeros, for example 0.0.1."
        if "model_version" not in self.body:
            self._refuse("model_version", "is required", remedy, "3036")
        elif value and not _VERSION.fullmatch(value):
            self._refuse("model_version", f"{value[:40]!r} is not a version", remedy)
        return value

    def _path(self, key: str, *, needed: bool) -> str:
        value = self._text(key)
        if not value:
            if needed and key not in self.body:
                remedy = "Name the folder that contains model/, for example obs://bucket/folder/."
                self._refuse(key, "is required", remedy, "3036")
            return ""
        try:
            parse_path(value, key)
        except InvalidRequest as error:
            self.problems.extend(error.problems)
        return value

    def _model_type(self) -> str:
        value = self._text("model_type")
        remedy = f"Use one of {', '.join(SUPPORTED)}."
        if "model_type" not in self.body:
            self._refuse("model_type", "is required", remedy, "3036")
            return ""
        engine = engine_named(value.strip())
        if engine is None:
            if value:
                self._refuse("model_type", f"{value[:60]!r} is not supported", remedy)
            return ""
        if engine.name not in SUPPORTED:
            reason = f"{engine.name} models are not supported"
            self._refuse("model_type", reason, f"Import a package or an image instead. {remedy}")
        return engine.name

    def _runtime(self) -> str:
        value = self._text("runtime")
        if self._type == CUSTOM:
            # Without one, config.json may have it.
            problem = image_fault(value, "runtime") if value else None
            self.problems += [problem] if problem else []
            return value
        fault = runtime_fault(value) if value else None
        if fault:
            self._refuse("runtime", fault, "See GET models/ai-engine-runtimes.")
        return value

    def _description(self) -> str:
        value = self._text("description")
        if len(value) > 100:
            self._refuse("description", "is longer than 100 characters", "Shorten it.")
        found = sorted(set(value) & set(_FORBIDDEN))
        if found:
            reason = f"holds {' '.join(found)}, which is not allowed"
            self._refuse("description", reason, "Write it without.")
        return value

    def _initial_config(self) -> ConfigResult | None:
        value = self.body.get("initial_config")
        if value is None:
            return None
        # The specification says a string; an object says the same.
        raw = value if isinstance(value, str) else json.dumps(value)
        result = parse_config(raw.encode(), "initial_config", self._type)
        self.problems.extend(result.problems)
        return result

    def _apis(self) -> tuple[Api, ...] | None:
        value = self._document("apis")
        if value in (None, []):
            return None
        return parse_apis(value, "apis", self.problems, image=self._image)

    def _params(self, key: str) -> tuple[JsonDict, ...] | None:
        value = self._document(key)
        return None if value in (None, []) else parse_params(value, key, self.problems)

    def _dependencies(self) -> tuple[Installation, ...] | None:
        value = self._document("dependencies")
        if value in (None, []):
            return None
        return parse_dependencies(value, "dependencies", self.problems)

    def _algorithm(self) -> str:
        value = self._text("model_algorithm")
        fault = algorithm_fault(value) if value else None
        if fault:
            self._refuse("model_algorithm", fault, "For example image_classification.")
        return value

    def _metrics(self) -> dict[str, float] | None:
        value = self._document("model_metrics")
        if value is None:
            return None
        if not isinstance(value, dict):
            self.problems.append(wrong_type("model_metrics", "a JSON object", value, "3037"))
            return None
        return parse_metrics(value, "model_metrics", self.problems)

    def _install_type(self) -> tuple[str, ...]:
        value = self.body.get("install_type")
        if value in (None, []):
            return INSTALL_TYPES
        if isinstance(value, str):
            # A bare word, a comma list or JSON text: what command lines send.
            value = (
                self._document("install_type")
                if value.lstrip().startswith("[")
                else [word.strip() for word in value.split(",")]
            )
        if not isinstance(value, list):
            self.problems.append(wrong_type("install_type", "a list", value, "3037"))
            return INSTALL_TYPES
        found: list[str] = []
        for index, item in enumerate(value):
            name = "real-time" if item == "realtime" else item
            if name not in INSTALL_TYPES:
                reason = f"{str(item)[:40]!r} is not supported"
                remedy = f"Use {' or '.join(INSTALL_TYPES)}."
                self._refuse(f"install_type[{index}]", reason, remedy)
            elif name not in found:
                found.append(str(name))
        return tuple(found)

    def _source_type(self) -> str:
        value = self._text("source_type")
        if value not in ("", "auto"):
            self._refuse("source_type", f"{value[:40]!r} is unknown", "Use auto or leave it out.")
        return value

    def _docs(self) -> tuple[JsonDict, ...]:
        value = self._document("model_docs")
        if value is None:
            return ()
        if not isinstance(value, list) or len(value) > 3:
            self._refuse("model_docs", "must be a list of at most 3", "Correct it.")
            return ()
        docs: list[JsonDict] = []
        for index, item in enumerate(value):
            name = item.get("doc_name") if isinstance(item, dict) else None
            url = item.get("doc_url") if isinstance(item, dict) else None
            if not (isinstance(name, str) and name[:1].isalpha() and len(name) <= 64):
                self._refuse(f"model_docs[{index}].doc_name", "must start with a letter", "Fix it.")
            elif not (isinstance(url, str) and re.fullmatch(r"https?://\S{1,1000}", url)):
                self._refuse(f"model_docs[{index}].doc_url", "must be an http(s) URL", "Fix it.")
            else:
                docs.append({"doc_name": name, "doc_url": url})
        return tuple(docs)

    def _workspace(self) -> str:
        value = self.body.get("workspace_id", "0")
        if value not in ("0", 0):
            self._refuse("workspace_id", f"{str(value)[:40]!r} does not exist", "Use 0.", "0102")
        return "0"
