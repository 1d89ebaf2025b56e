"""A service that only has ports and a mood: what the supervisor is tested against, as a real process.

    python fake_service.py CONFIG_FILE

It listens on the client, peer and admin ports of its configuration, serves `/readyz` and `/info` there, and ends on
SIGTERM. Its mood is read once from `mood-<node>` beside the configuration's directory:

`crash` prints two lines and exits with 3; `unready` says for ever that it has no leader; `stubborn` ignores SIGTERM.

One of the registry answers `/v1/health/service/NAME` with what is in `health-NAME.json` in that place, 503 without.
"""

import json
import signal
import socket
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def main(config_file: Path) -> int:
    config = tomllib.loads(config_file.read_text())
    node = config["node"]
    mood_file = config_file.parents[1] / f"mood-{node}"
    mood = mood_file.read_text() if mood_file.exists() else ""
    print(
        json.dumps({"time": "2026-01-01T00:00:00.000Z", "level": "info", "message": "begun", "mood": mood}), flush=True
    )
    if mood == "crash":
        print("it all went wrong", file=sys.stderr, flush=True)
        return 3
    signal.signal(signal.SIGTERM, signal.SIG_IGN if mood == "stubborn" else lambda *_: sys.exit(0))
    service = node.rpartition("-")[0]
    section = config[service]
    if service == "registry":
        serve_health(config_file.parents[1], section.pop("listen"))
    for key in ("listen", "peer_listen"):
        if key in section:
            host, port = section[key].rsplit(":", 1)
            socket.create_server((host, int(port))).detach()

    class Admin(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"ready\n"
            if self.path == "/info":
                role = "leader" if node == "kv-1" else "follower"
                body = json.dumps({"node": node, "role": role}).encode()
            elif mood == "unready":
                body = b"[-] leader known: none yet\nnot ready\n"
            self.send_response(503 if mood == "unready" and self.path == "/readyz" else 200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    host, port = config["admin"]["listen"].rsplit(":", 1)
    ThreadingHTTPServer((host, int(port)), Admin).serve_forever()
    return 0


def serve_health(root: Path, listen: str) -> None:
    class Consul(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            file = root / f"health-{self.path.rpartition('/')[2]}.json"
            body = file.read_bytes() if file.exists() else b"kv was never heard"
            self.send_response(200 if file.exists() else 503)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    host, port = listen.rsplit(":", 1)
    server = ThreadingHTTPServer((host, int(port)), Consul)
    threading.Thread(target=server.serve_forever, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
