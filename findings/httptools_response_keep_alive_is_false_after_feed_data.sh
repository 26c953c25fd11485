#!/usr/bin/env bash
# httptools 0.9.0 (llhttp): HttpResponseParser.should_keep_alive() after feed_data() has returned.
#
# Expected: what the request parser does. `should_keep_alive()` tells about the message that was just
#   parsed, both inside on_message_complete and after feed_data() has returned.
# Seen: for a response of HTTP/1.1 with Content-Length, or chunked, it is True inside
#   on_message_complete and False once feed_data() has returned. A client that asks afterwards closes
#   a connection after every answer; nothing fails, it is only slow.
#   (The request parser of the same release says True in both places.)
# Output of this script:
#   response, content-length: in the callback True, afterwards False
#   response, chunked: in the callback True, afterwards False
#   request: in the callback True, afterwards True
#   as recorded
# Exits with 1 when the behaviour has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check httptools==0.9.0
"$folder/venv/bin/python" - <<'EOF'
import sys

import httptools


class Asked:
    parser = None
    inside = None

    def on_message_complete(self):
        self.inside = self.parser.should_keep_alive()


def look(kind, raw):
    asked = Asked()
    asked.parser = kind(asked)
    asked.parser.feed_data(raw)
    return asked.inside, asked.parser.should_keep_alive()


found = {
    "response, content-length": look(
        httptools.HttpResponseParser, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    ),
    "response, chunked": look(
        httptools.HttpResponseParser,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ),
    "request": look(httptools.HttpRequestParser, b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"),
}
for what, (inside, after) in found.items():
    print(f"{what}: in the callback {inside}, afterwards {after}")
recorded = [(True, False), (True, False), (True, True)]
same = list(found.values()) == recorded
print("as recorded" if same else "CHANGED")
sys.exit(0 if same else 1)
EOF
