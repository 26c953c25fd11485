"""What the rows of the field table are made of: models, pools, rows, and values of wrong types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelyard.domain.admission.requests import Facts, ModelFacts, Present
from modelyard.settings.pools import PoolSettings

Json = dict[str, Any]

ABSENT: Any = ...
"""Leave the field out."""

M1, M2, TWIN, NEW, BATCH = (f"{n:08d}-0000-4000-8000-000000000000" for n in range(1, 6))
UNKNOWN = "99999999-0000-4000-8000-000000000000"
MODELS = (
    ModelFacts(M1, "iris", "0.0.1", "published", ("real-time", "batch")),
    ModelFacts(M2, "iris", "0.0.2", "published", ("real-time",)),
    # The same version under another id: no catalogue holds it, a request may still not name both.
    ModelFacts(TWIN, "iris", "0.0.1", "published", ("real-time",)),
    ModelFacts(NEW, "iris", "0.0.3", "publishing", ("real-time",)),
    ModelFacts(BATCH, "iris", "0.0.4", "published", ("batch",)),
)
_HUGE: Json = {"cpu": 1e15, "memory_mb": 10**15}
POOLS = tuple(
    PoolSettings.model_validate(body)
    for body in (
        {"id": "old", "generation": "v1", **_HUGE},
        {"id": "ailing", "generation": "v1", "state": "concerning", **_HUGE},
        {"id": "broken", "generation": "v1", "state": "abnormal", **_HUGE},
        {"id": "plain", **_HUGE},
        {
            "id": "cards",
            **_HUGE,
            "gpu": 1e15,
            "npu": 10**15,
            "nodes": [{"name": "10.0.0.1"}, {"name": "10.0.0.2"}],
        },
        {"id": "waiting", "state": "Waiting", **_HUGE},
    )
)
MAX_INSTANCES = 5
CHECKS = ("probe",)
FACTS = Facts(
    models={model.model_id: model for model in MODELS},
    pools=tuple(pool.pool() for pool in POOLS),
    checks=CHECKS,
    max_instances=MAX_INSTANCES,
)


@dataclass(frozen=True, slots=True)
class Bad:
    """A value that is refused. ``at``: what follows the row's field in the problem's name; with
    a leading ``=`` it is the whole name.
    """

    value: Any
    code: str = "3037"
    at: str = ""
    status: int = 400


@dataclass(frozen=True, slots=True)
class Row:
    """One field: its ``path`` into a body, the body around it, good and bad values."""

    path: tuple[str | int, ...]
    good: Sequence[Any] = ()
    bad: Sequence[Any] = ()
    around: Json = field(default_factory=dict)
    calls: Sequence[str] = ("POST", "PUT")
    present: Present = field(default_factory=Present)

    @property
    def name(self) -> str:
        """Dotted, as problems name it."""
        text = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in self.path)
        return text[1:]


def entry(**more: Any) -> Json:
    """One version of ``config``, in the shared pool unless told otherwise."""
    whole = {
        "model_id": M1,
        "weight": 100,
        "specification": "modelarts.vm.cpu.2u",
        "instance_count": 1,
    } | more
    return {key: value for key, value in whole.items() if value is not ABSENT}


def config_of(*entries: Json, **around: Any) -> Json:
    """The part of a body that has these versions."""
    return {"config": [*entries]} | around


SHARED = config_of(entry())
POOLED = config_of(entry(pool_name="cards"))
OWN: Json = {"cpu": 1.5, "memory": 2048}
CUSTOM = config_of(entry(pool_name="cards", specification="custom", custom_spec=OWN))

NOT_TEXT = (1, 1.5, True, [], {"a": 1})
NOT_OBJECT = ("x", 1, True, [])
NOT_ARRAY = ("x", 1, False, {"a": 1})
NOT_WHOLE = (1.5, True, "1.5", "x", " 1", "-1", "1e1", [], {"a": 1})
NOT_NUMBER = (True, "x", "1", [], {"a": 1})
GONE = (Bad(ABSENT, "3610"), Bad(None, "3610"))
BLANK = (*GONE, Bad("", "3610"), Bad("  ", "3610"))


def in_config(key: str, **more: Any) -> Row:
    """A field of the first version."""
    around = more.pop("around", SHARED)
    return Row(("config", 0, key), around=around, **more)


def in_properties(key: str, **more: Any) -> Iterator[Row]:
    """A member of the version's ``additional_properties``, flat and one level down."""
    for nest in ((), ("rolling",)):
        path = ("config", 0, "additional_properties", *nest, key)
        yield Row(path, **({"around": SHARED} | more))


LONG_PATH = "/" + "a" * 1023
PATHS = ("/data", "/a/b-c_d.e", "/data/", "/a\\b", LONG_PATH, "/var/log/app", "/home/me", "/mnt")
BAD_PATHS = (
    *("data", "./data", "/", "//", "/a//b", "/a/./b", "/a/../b", "/..", "/a b", "/ä", "/a:b"),
    *("/var", "/var/run", "/var/run/x", "/etc", "/etc/x/", "/proc/1", "/usr", "/usr/bin", "/tmp"),
    LONG_PATH + "a",
    *NOT_TEXT,
)
