#!/usr/bin/env bash
# openapi-python-client 0.29.1: an object with a member named `additional_properties`.
#
# Expected: the generated class reads and writes the member as any other; the generator renames what
#   would clash with names of its own (a member named `to_dict`, or a keyword of Python).
# Seen: without `additionalProperties: false` the class keeps what is beyond the schema in an attribute
#   `additional_properties` that its constructor does not take. It replaces the member of that name:
#   reading any object that has the member raises TypeError, and the generator gives no warning.
#   With `additionalProperties: false` the same member works.
# Output of this script:
#   open object: TypeError
#   closed object: {'additional_properties': 'x'}
#   as recorded
# Exits with 1 when the behaviour has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    openapi-python-client==0.29.1 httpx==0.28.1 attrs==25.4.0
cat >"$folder/openapi.json" <<'EOF'
{
  "openapi": "3.1.0",
  "info": {"title": "t", "version": "1"},
  "paths": {
    "/open": {"get": {"operationId": "open", "responses": {"200": {"description": "o", "content": {
      "application/json": {"schema": {"$ref": "#/components/schemas/Open"}}}}}}},
    "/closed": {"get": {"operationId": "closed", "responses": {"200": {"description": "c", "content": {
      "application/json": {"schema": {"$ref": "#/components/schemas/Closed"}}}}}}}
  },
  "components": {"schemas": {
    "Open": {"type": "object", "properties": {"additional_properties": {"type": "string"}}},
    "Closed": {"type": "object", "additionalProperties": false,
      "properties": {"additional_properties": {"type": "string"}}}
  }}
}
EOF
PATH="$folder/venv/bin:$PATH" openapi-python-client generate --meta none \
    --path "$folder/openapi.json" --output-path "$folder/generated" >"$folder/said" 2>&1
! grep -q WARNING "$folder/said"
PYTHONPATH="$folder" "$folder/venv/bin/python" - <<'EOF'
import sys

from generated.models import Closed, Open

found = []
for name, kind in (("open", Open), ("closed", Closed)):
    try:
        seen = str(kind.from_dict({"additional_properties": "x"}).to_dict())
    except TypeError:
        seen = "TypeError"
    print(f"{name} object: {seen}")
    found.append(seen)
as_recorded = found == ["TypeError", "{'additional_properties': 'x'}"]
print("as recorded" if as_recorded else "CHANGED")
sys.exit(not as_recorded)
EOF
