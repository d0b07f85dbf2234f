# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a service: take over the sockets, answer, write the state with every beat, drain."""

import threading

from common.core import handover, http
from common.core.identity import Identity
from common.core.log import log
from common.core.state import open_state
from common.core.vitals import Vitals

BEAT_SECONDS = 3.0
FAULTS = (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)


class Life:
    """``work`` takes a request's parameters and returns what is to be answered; ``well`` is this
    service's word for being well."""

    def __init__(self, work, state_kind="json", well="ok"):
        self.identity = Identity.from_environment()
        self.vitals = Vitals(self.identity, open_state(state_kind, self.identity.state_dir))
        self.drain = handover.Drain()
        self.work = work
        self.well = well
        self._turn = threading.Lock()

    def health(self):
        return self.vitals.health(well=self.well)

    def answer(self, request):
        """On the service's own port: ``/`` works, ``/health`` and ``/metrics`` tell."""
        with self._turn:  # one piece of work at a time
            self.vitals.requests += 1
            if request.path != "/":
                return self.answer_health(request)
            try:
                return http.as_json({**self.vitals.summary(), **self.work(request.query)})
            except FAULTS as error:
                return self.fault(request, error)

    def answer_health(self, request):
        """On the health port."""
        try:
            if request.path == "/health":
                return http.as_json(self.health())
            if request.path == "/metrics":
                return http.as_text(self.vitals.metrics())
        except FAULTS as error:
            return self.fault(request, error)
        return http.as_json({"error": "no such path"}, 404)

    def fault(self, request, error):
        self.vitals.errors += 1
        log(self.identity.name, "ERROR", f"{request.method} {request.path}: {error!r}")
        return http.as_json({"status": "error", "message": repr(error)}, 500)

    def live(self, remember=dict, on_beat=None, health_protocol="http", zmq_service=None):
        """Returns when the service has drained. ``remember`` gives the facts to write with every beat;
        ``zmq_service`` is the reply function of a service whose port speaks ZeroMQ."""
        me = self.identity
        service = handover.listening_socket(me.bind, me.port)
        health = handover.listening_socket(me.bind, me.health_port)
        listeners = {service: self.answer, health: self.answer_health}
        threads = []
        if zmq_service or health_protocol == "zmq":
            from common.core import zmq_reply  # only those who need it pay for the import

            if zmq_service:
                del listeners[service]
                threads.append(zmq_reply.start_replying(service, zmq_service, self.drain.bell))
            else:
                del listeners[health]
                threads.append(zmq_reply.start_replying(health, zmq_reply.health_reply(self.health), self.drain.bell))
        threads.append(http.start_accepting(listeners, self.drain))
        handover.notify_ready()
        log(me.name, "INFO", f"release {me.release} serves {me.bind}:{me.port}, health {me.health_port}")
        while not self.drain.wait_for_signal(BEAT_SECONDS):
            self.vitals.save(**remember())
            if on_beat:
                on_beat()
        self.drain.begin()
        for thread in threads:
            thread.join()
        self.drain.finish()
        self.vitals.save(**remember())
        log(me.name, "INFO", "drained")
