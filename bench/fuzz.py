"""Calls the whole API by its contract: schemathesis against a stack of its own (quality.md S3).

    make fuzz              about 10,000 cases, all phases; some minutes
    python bench/fuzz.py --examples 5

Exits non-zero for an answer of 500, an undocumented status or content type, a body that breaks its
schema, or a request that fits the contract and is refused for its form (``fuzz_hooks.py``).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "support")]

from model_folders import write_package  # noqa: E402
from stack import Stack  # noqa: E402

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "accepts_every_documented_form",
)
# So that what is created stays small.
LIMITS = {"MODELYARD_MAX_INSTANCES": "3", "MODELYARD_MAX_SERVICES": "12"}


def main() -> int:
    """The exit status of schemathesis."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100, help="cases per operation and phase")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("more", nargs="*", help="further arguments of schemathesis, after --")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Stack(env=LIMITS) as stack:
        place = Path(folder)
        model = stack.import_model(write_package(place / "package", "0.0.1"), "fuzzed")
        service = stack.create_service("fuzzed", {model: 100})
        settings = place / "schemathesis.toml"
        settings.write_text(
            f'[parameters]\nproject_id = "{stack.project_id}"\n[generation]\nallow-x00 = false\n'
        )
        command = [
            *(str(Path(sys.executable).parent / "schemathesis"), "--config-file", str(settings)),
            *("run", str(ROOT / "openapi.json"), "--url", stack.address),
            *("--header", f"X-Auth-Token: {stack.token()}"),
            *("--checks", ",".join(CHECKS), "--max-examples", str(chosen.examples)),
            *("--seed", str(chosen.seed), "--generation-database", "none", "--no-color"),
            *(
                "--warnings",
                "off",
                "--suppress-health-check",
                "filter_too_much",
                "--continue-on-failure",
                *chosen.more,
            ),
        ]
        mine = {
            "SCHEMATHESIS_HOOKS": "fuzz_hooks",
            "PYTHONPATH": str(ROOT / "bench"),
            "FUZZ_MODEL": model,
            "FUZZ_SERVICE": service,
        }
        done = subprocess.run(command, env={**os.environ, **mine}, cwd=place, check=False)
    return done.returncode


if __name__ == "__main__":
    raise SystemExit(main())
