"""``modelyard check``: the package doctor; it needs no platform."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.commands.models import package_folder
from modelyard.cli.doctor import advice, trial
from modelyard.cli.doctor.sample import Sample, from_file, from_schema
from modelyard.cli.lifecycle.settings import started_settings
from modelyard.cli.terminal.findings import show_findings
from modelyard.cli.terminal.options import HomeOption, JsonOption
from modelyard.cli.terminal.output import Progress, note, progress, show_facts, show_json
from modelyard.client.documents import Document
from modelyard.client.failures import ClientError
from modelyard.packages.config.config_json import ModelConfig, parse_config
from modelyard.packages.doctor import (
    Finding,
    Level,
    available_here,
    examine,
    python_here,
    read_package,
)
from modelyard.packages.engines import PACKAGED

_MOST_LOG_LINES = 20


@dataclass
class Report:
    """The doctor's findings and measurements.

    ``starts``: the first and the second start. ``environment``: facts about the environment in
    which the package was tried.
    """

    findings: list[Finding] = field(default_factory=list)
    starts: list[trial.Start] = field(default_factory=list)
    answers: trial.Answers | None = None
    memory: trial.Memory | None = None
    suggestion: advice.Suggestion | None = None
    log: str = ""
    environment: dict[str, float | int | str] = field(default_factory=dict)

    @property
    def fails(self) -> bool:
        return any(one.level is Level.ERROR for one in self.findings)


def check(
    folder: Annotated[str, typer.Argument(help="A folder that holds `model/`.")],
    static: Annotated[
        bool, typer.Option("--static", help="Only read the package; run none of its code.")
    ] = False,
    request: Annotated[
        Path | None,
        typer.Option(help="A request to send: JSON, or a file to upload. Default: by its schema."),
    ] = None,
    rate: Annotated[float, typer.Option(help="Predictions per second to plan for.")] = 10.0,
    timeout: Annotated[float, typer.Option(help="Longest start, in seconds.")] = 120.0,
    environment: Annotated[
        bool,
        typer.Option(
            "--environment/--no-environment",
            help="Install its dependencies, as an import does, and try the package with them.",
        ),
    ] = True,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Examine a model package, start it and measure it.

    The exit code is 1 if the package would fail. Unless --static is given, the package's code runs
    on this machine with your rights. Environments are built in the platform's folder, where an
    import finds them again.
    """
    package = package_folder(folder)
    report = Report(_read(package))
    config = _config(package)
    runs = config is not None and config.model_type in PACKAGED
    if not static and config is not None and runs and not _cannot_start(report.findings):
        sample = _sample(request, config)
        with (
            tempfile.TemporaryDirectory(prefix="modelyard-check-") as scratch,
            progress(f"reading the dependencies of {package.name}") as shown,
        ):
            python = _python(package, config, home, report, shown, environment)
            if python is not None:
                trial_of = _Trial(package, config, python, Path(scratch), timeout, rate)
                _run(trial_of, sample, report, shown)
    _show(report, json)
    if report.fails:
        raise typer.Exit(1)


def _read(package: Path) -> list[Finding]:
    return list(examine(read_package(package), python=python_here(), available=available_here))


def _config(package: Path) -> ModelConfig | None:
    return parse_config((package / "model" / "config.json").read_bytes()).config


def _cannot_start(findings: list[Finding]) -> bool:
    return any(one.level is Level.ERROR and one.kind in ("config", "files") for one in findings)


def _sample(request: Path | None, config: ModelConfig) -> Sample | None:
    if request is None:
        return from_schema(config.apis[0])
    try:
        return from_file(request.name, request.read_bytes(), config.apis[0])
    except OSError as error:
        raise ClientError(f"{request} cannot be read: {error.strerror}.") from error


@dataclass(frozen=True, slots=True)
class _Trial:
    """``python``: the interpreter of the package's own environment, or "". ``timeout`` of a start
    in seconds, ``rate`` in predictions a second.
    """

    package: Path
    config: ModelConfig
    python: str
    scratch: Path
    timeout: float
    rate: float


def _python(
    package: Path,
    config: ModelConfig,
    home: Path | None,
    report: Report,
    shown: Progress,
    build: bool,
) -> str | None:
    """Return the interpreter to use; None if there is none, for a reason in the report."""
    # Takes longer to import than a static check to run.
    from modelyard.cli.doctor.surroundings import quietly, surroundings

    quietly()
    settings = started_settings(home)
    found = surroundings(package, config, settings, shown.update, build)
    report.findings += found.findings
    if found.environment is not None:
        report.environment = {
            "environment": "reused" if found.reused else "built",
            "environment_build_s": round(
                found.environment.seconds if found.reused else found.seconds, 1
            ),
            "environment_size_mb": round(found.environment.size / 1024**2, 1),
        }
    return found.python


def _run(of: _Trial, sample: Sample | None, report: Report, shown: Progress) -> None:
    name = of.package.name
    shown.update(f"starting {name}")
    for number in (1, 2):
        begun = time.monotonic()
        folder = of.scratch / f"start-{number}"
        with trial.started(of.package, of.config.model_type, folder, 1, of.python) as instance:
            start = instance.wait(begun, of.timeout)
            report.starts.append(start)
            if start.failure:
                report.findings += advice.check_start(start)
                report.log = instance.log()
                return
            if number == 1:
                shown.update(f"sending requests to {name}")
                _try(instance, sample, report)
                shown.update(f"starting {name} again")
    assert report.memory is not None
    if sample is not None:
        oddities = trial.rehearse(of.scratch / "start-1", sample, of.timeout)
        report.findings += advice.check_result(oddities)
    report.suggestion = advice.suggest(report.memory, report.answers, of.rate)


def _try(instance: trial.Instance, sample: Sample | None, report: Report) -> None:
    if sample is None:
        report.findings.append(advice.no_sample())
    else:
        report.answers = instance.ask(sample, 40)
        report.findings += advice.check_answer(report.answers, given=sample.given)
        if report.answers.status != 200:
            report.log = instance.log()
    report.memory = instance.memory()


def _show(report: Report, json: bool) -> None:
    facts = _facts(report)
    if json:
        document: dict[str, object] = {
            "ok": not report.fails,
            "findings": [one.document() for one in report.findings],
            "measured": facts,
        }
        show_json(document)
        return
    show_findings([Document(one.document()) for one in report.findings])
    show_facts(dict(_words(name, value) for name, value in facts.items()))
    if report.log:
        note("\n".join(report.log.splitlines()[-_MOST_LOG_LINES:]))
    if not report.findings:
        note("No findings.")


def _facts(report: Report) -> dict[str, float | int | str]:
    facts = dict(report.environment)
    for name, start in zip(("first_start_s", "second_start_s"), report.starts, strict=False):
        if not start.failure:
            facts[name] = round(start.seconds, 3)
    if report.answers is not None and report.answers.status == 200:
        facts["first_prediction_ms"] = round(report.answers.seconds[0] * 1000, 2)
        facts["prediction_ms"] = round(report.answers.median_s * 1000, 2)
        facts["answer"] = report.answers.text[:200]
    if report.memory is not None:
        facts["model_memory_mb"] = round(report.memory.workers_mb, 1)
        facts["server_memory_mb"] = round(report.memory.front_mb, 1)
    if report.suggestion is not None:
        facts["specification"] = report.suggestion.flavor
        facts["instance_count"] = report.suggestion.count
        facts["memory_needed_mb"] = report.suggestion.memory_mb
    return facts


def _words(name: str, value: float | str) -> tuple[str, str]:
    """``first_start_s``, 1.2 as ``first start``, ``1.2 s``."""
    stem, _, last = name.rpartition("_")
    unit = {"s": "s", "ms": "ms", "mb": "MB"}.get(last)
    if unit is None:
        return name.replace("_", " "), str(value)
    return stem.replace("_", " "), f"{value} {unit}"
