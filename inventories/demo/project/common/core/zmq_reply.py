# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""ZeroMQ REQ/REP on a socket that is there already: one question, one answer, one at a time.

The listening socket is handed over, but a question that waits inside the old process is not:
a restart is a brief interruption, and clients ask again.
"""

import json
import threading

import zmq

HEALTH_VERBS = ("health_check", "health", "ping", "get_status")


def actions_reply(actions):
    """A reply function from a mapping of action names to functions of the question (a dict)."""

    def reply(received):
        try:
            question = json.loads(received)
            action = actions.get(question.get("action"))
        except (AttributeError, ValueError):
            return {"status": "error", "message": "expected a JSON object with an action"}
        if action is None:
            return {"status": "unknown_action", "known": sorted(actions)}
        return action(question)

    return reply


def health_reply(health):
    return actions_reply(dict.fromkeys(HEALTH_VERBS, lambda question: health()))


def serve(listener, reply, bell):
    """Answer until the bell can be read."""
    context = zmq.Context()
    address, port = listener.getsockname()
    socket = context.socket(zmq.REP)
    socket.setsockopt(zmq.LINGER, 500)
    socket.setsockopt(zmq.USE_FD, listener.detach())
    socket.bind(f"tcp://{address}:{port}")
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(bell, zmq.POLLIN)
    while True:
        ready = dict(poller.poll())
        if socket in ready:
            socket.send_json(reply(socket.recv()))
        elif bell in ready:
            socket.close()
            context.term()
            return


def start_replying(listener, reply, bell):
    thread = threading.Thread(target=serve, args=(listener, reply, bell), daemon=True)
    thread.start()
    return thread
