"""The custom image of the tests: a small HTTP server of the standard library.

Answers any request with its version and what it was asked, and messages of WebSockets. Variables:
``VERSION``, ``PORT``, ``START_S`` (until it listens), ``TLS`` (serve HTTPS), ``STUBBORN`` (ignore
SIGTERM; by default it ends at once, without regard for what it is doing), ``SICK`` (a file: while
it exists, the checks of /health fail).
"""

import asyncio
import base64
import hashlib
import json
import os
import signal
import ssl
import sys
import time
from urllib.parse import parse_qs, urlsplit

hoard = []


def say(*words):
    print(*words, flush=True)


def fork(count):
    """How many children could be had of so many; they end again."""
    children = []
    try:
        for _ in range(count):
            pid = os.fork()
            if pid == 0:
                time.sleep(60)
                os._exit(0)
            children.append(pid)
    except OSError:
        pass
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return len(children)


async def answer(method, target, headers, body):
    url = urlsplit(target)
    query = {key: values[0] for key, values in parse_qs(url.query).items()}
    if url.path == "/health":
        sick = os.environ.get("SICK", "")
        return (503, {"ill": True}) if sick and os.path.exists(sick) else (200, {"well": True})
    if url.path == "/say":
        say(query["words"])
    if url.path == "/slow":
        await asyncio.sleep(float(query["s"]))
    if url.path == "/touch":
        open(query["file"], "w").close()
    if url.path == "/exists":
        return 200, {"exists": os.path.exists(query["file"])}
    if url.path == "/fork":
        return 200, {"forked": fork(int(query["count"]))}
    if url.path == "/flood":
        for number in range(int(query["mb"])):
            say((f"{number:04} " + "y" * 1018 + "\n") * 1024)
            await asyncio.sleep(0.05)
    if url.path == "/eat":
        hoard.append(b"x" * int(query["mb"]) * 1024 * 1024)
    if url.path == "/exit":
        say("leaving as asked")
        os._exit(int(query["code"]))
    names = ("A_VARIABLE", "MODEL_NAME", "MODEL_VERSION")
    return 200, {
        "version": os.environ.get("VERSION", ""),
        "method": method,
        "path": url.path,
        "query": query,
        "headers": headers,
        "echo": body.decode("utf-8", "replace"),
        "environment": {name: os.environ.get(name, "") for name in names},
        "arguments": sys.argv[1:],
    }


async def talk(reader, writer, headers):
    """A WebSocket: says each short message back, behind the version; at a close it ends, too."""
    key = headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    writer.write(
        "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )
    kind = 0
    while kind != 8:
        first, length = await reader.readexactly(2)
        mask = await reader.readexactly(4)
        sent = await reader.readexactly(length & 127)
        body = bytes(one ^ mask[at % 4] for at, one in enumerate(sent))
        kind = first & 15
        if kind == 1:
            body = os.environ.get("VERSION", "").encode() + b" " + body
        writer.write(bytes((first, len(body))) + body)


async def serve(reader, writer):
    try:
        while line := await reader.readline():
            method, target, _ = line.decode().split()
            headers = {}
            while (field := await reader.readline()) not in (b"\r\n", b""):
                name, _, value = field.decode().partition(":")
                headers[name.lower()] = value.strip()
            if headers.get("upgrade", "").lower() == "websocket":
                await talk(reader, writer, headers)
                break
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            status, content = await answer(method, target, headers, body)
            data = json.dumps(content).encode()
            closing = headers.get("connection", "").lower() == "close"
            writer.write(
                f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(data)}\r\n\r\n".encode()
                + data
            )
            await writer.drain()
            if closing:
                break
    except (OSError, ValueError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main():
    if os.environ.get("STUBBORN"):
        signal.signal(signal.SIGTERM, lambda *_: say("SIGTERM is ignored"))
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    time.sleep(float(os.environ.get("START_S", 0)))
    context = None
    if os.environ.get("TLS"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain("/app/tls.pem")
    port = int(os.environ.get("PORT", 8080))
    server = await asyncio.start_server(serve, "0.0.0.0", port, ssl=context)
    say("listening on", port, "as", os.environ.get("VERSION", ""))
    print("a word on stderr", file=sys.stderr, flush=True)
    await server.serve_forever()


asyncio.run(main())
