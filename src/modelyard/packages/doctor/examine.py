"""All static checks of a package, in one call; pure."""

from __future__ import annotations

from modelyard.packages.config.config_json import ModelConfig, check_config, parse_config
from modelyard.packages.doctor.config_checks import check_config_text, check_dependencies
from modelyard.packages.doctor.findings import Finding, Level, in_order
from modelyard.packages.doctor.import_checks import Available, check_imports
from modelyard.packages.doctor.outdated import check_outdated
from modelyard.packages.doctor.script_checks import check_script, takes_raw_text
from modelyard.packages.doctor.texts import Package
from modelyard.packages.documents import DocumentError, parse_json
from modelyard.packages.engines import Engine, engine_named
from modelyard.packages.layout import check_layout


def examine(
    package: Package,
    *,
    python: tuple[int, int],
    available: Available,
    config: ModelConfig | None = None,
) -> tuple[Finding, ...]:
    """What reading ``package`` tells, the worst first.

    ``python``: the version that will run it. ``available``: whether a module can be imported there.
    ``config``: what is in force where that is not the package's own ``config.json``.
    """
    findings: list[Finding] = []
    if package.config is not None:
        config = config or parse_config(package.config).config
    engine = engine_named(config.model_type) if config else _engine_of(package.config)
    if package.config is not None:
        findings += check_config_text(package.config, takes_raw_text(package, engine))
    if engine is not None:
        findings += _layout(package, engine, config_given=package.config is None and bool(config))
    elif package.config is None:
        where, fix = "model/config.json", "Add it: model_type and model_algorithm at least."
        findings.append(Finding("config", Level.ERROR, where, "is missing", fix))
    if config is not None:
        findings += check_dependencies(config, python)
    for source in package.sources.values():
        if source.tree is None:
            findings.append(_unreadable(source.where, source.line, source.fault))
    findings += check_script(package, engine)
    findings += check_imports(package, config, available)
    findings += check_outdated(package)
    if package.skipped:
        says = f"not read, too large together: {', '.join(package.skipped[:5])}"
        findings.append(Finding("unread", Level.NOTE, "model/", says))
    return in_order(findings)


def _engine_of(raw: bytes | None) -> Engine | None:
    """The engine of a config.json that has faults, as far as it says one."""
    try:
        document = parse_json(raw or b"", "config.json")
    except DocumentError:
        return None
    if not isinstance(document, dict):
        return None
    result = check_config({"model_algorithm": "any", "model_type": document.get("model_type")})
    return engine_named(result.config.model_type) if result.config else None


def _layout(package: Package, engine: Engine, *, config_given: bool) -> list[Finding]:
    layout = check_layout(set(package.files), engine, config_given=config_given)
    found = [
        Finding("files", Level.ERROR, "model/", one.reason, one.remedy) for one in layout.problems
    ]
    for one in layout.warnings:
        several = "found none" not in one and "holds no" not in one
        fix = "Keep one file of weights." if several else "Put the weights into model/."
        fix = f"{fix} A script that names its own file may stay as it is."
        found.append(Finding("weights", Level.WARNING, "model/", one, fix))
    return found


def _unreadable(where: str, line: int, fault: str) -> Finding:
    fix = "Correct it."
    if "print" in fault or "exec" in fault or "except" in fault:
        fix = "It is written for Python 2: translate it."
    return Finding("syntax", Level.ERROR, f"{where}:{line}", f"cannot be read: {fault}", fix)
