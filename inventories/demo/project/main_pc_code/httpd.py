# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services on the standard library's own HTTP server, made to hand over and to drain."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from common.core import handover
from common.core.identity import Identity
from common.core.log import log
from common.core.state import open_state
from common.core.vitals import Vitals


class Handler(BaseHTTPRequestHandler):
    """Override ``work``. What outlives a request belongs to the class."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together
    disable_nagle_algorithm = True
    timeout = 60.0

    def work(self, query):
        raise NotImplementedError

    def do_GET(self):
        with self.server.drain.in_flight:
            target = urlsplit(self.path)
            vitals = self.server.vitals
            vitals.requests += 1
            if target.path == "/metrics":
                self.send(200, "text/plain; version=0.0.4; charset=utf-8", vitals.metrics())
            elif target.path == "/health":
                self.send(200, "application/json", json.dumps(vitals.health(well="online")))
            elif target.path == "/":
                self.send_work(dict(parse_qsl(target.query)))
            else:
                self.send(404, "application/json", '{"error": "no such path"}')

    def send_work(self, query):
        try:
            with self.server.turn:
                document = {**self.server.vitals.summary(), **self.work(query)}
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            self.server.vitals.errors += 1
            self.send(500, "application/json", json.dumps({"error": repr(error)}))
        else:
            self.send(200, "application/json", json.dumps(document))

    def send(self, status, kind, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection or self.server.drain.asked:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *values):
        """Requests are counted, not logged."""


class Server(ThreadingHTTPServer):
    """Serves on a socket that is there already."""

    daemon_threads = True

    def __init__(self, listener, handler, drain, vitals):
        super().__init__(listener.getsockname(), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.drain = drain
        self.vitals = vitals
        self.turn = threading.Lock()

    def get_request(self):
        connection, address = super().get_request()
        connection.setblocking(True)
        self.drain.opened(connection)
        return connection, address

    def close_request(self, request):
        self.drain.closing(request)
        super().close_request(request)


def run(handler, state_kind="json"):
    me = Identity.from_environment()
    vitals = Vitals(me, open_state(state_kind, me.state_dir))
    vitals.save()
    drain = handover.Drain()
    servers = [
        Server(handover.listening_socket(me.bind, port), handler, drain, vitals) for port in (me.port, me.health_port)
    ]
    threads = [threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    handover.notify_ready()
    log(me.name, "INFO", f"release {me.release} serves {me.bind}:{me.port}, health {me.health_port}")
    while not drain.wait_for_signal(3.0):
        vitals.save()
    drain.begin()
    for server in servers:
        server.shutdown()
        server.server_close()
    drain.finish()
    vitals.save()
    log(me.name, "INFO", "drained")
