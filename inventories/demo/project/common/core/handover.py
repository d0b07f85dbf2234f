# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an agent needs so that its successor takes its place without losing a request.

The supervisor owns the listening socket, the agent drains. On SIGTERM: stop accepting, let every
accepted connection reach its handler, answer each connection's next request with
``Connection: close``, wait until nothing is in flight, exit.
"""

import errno
import os
import select
import signal
import socket
import stat
import threading
import time

STOP = {signal.SIGTERM, signal.SIGINT}
ROUND_SECONDS = 0.1  # within this, a connection that was just accepted has reached its handler
IDLE_SECONDS = 1.5  # a keep-alive connection on which nothing comes for so long is closed
CAP_SECONDS = 10.0  # nobody is waited for longer than this


def inherited_sockets():
    """Listening sockets that a supervisor holds for us: LISTEN_FDS (systemd), else fd 0 (supervisord)."""
    ours = os.environ.get("LISTEN_PID") == str(os.getpid())
    count = int(os.environ.get("LISTEN_FDS", "0")) if ours else 0
    for descriptor in range(3, 3 + count) if count else (0,):
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            candidate = socket.socket(fileno=os.dup(descriptor))
            if candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                yield candidate


def listening_socket(address, port, patience=10.0):
    """The inherited socket that is bound to this port, else one of our own; never blocks in accept.

    While the predecessor still holds the port, binding is tried again for ``patience`` seconds.
    """
    for candidate in inherited_sockets():
        if candidate.getsockname()[1] == port:
            candidate.setblocking(False)
            return candidate
    deadline = time.monotonic() + patience
    while True:
        own = socket.socket()
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            own.bind((address, port))
            own.listen(512)
            own.setblocking(False)
            return own
        except OSError as error:
            own.close()
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def notify_ready():
    """Tell the service manager that work can come (the sd_notify protocol); nobody asked, nothing said."""
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(b"READY=1", "\0" + path[1:] if path.startswith("@") else path)


class Count:
    """How many of something there are now, from any thread."""

    def __init__(self):
        self.value = 0
        self._lock = threading.Lock()

    def __enter__(self):
        with self._lock:
            self.value += 1

    def __exit__(self, *ignored):
        with self._lock:
            self.value -= 1


class Drain:
    """Made in the main thread before any other thread; ``bell`` becomes readable when draining begins."""

    def __init__(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP)  # SIGTERM waits for wait_for_signal
        self.asked = False
        self.in_flight = Count()
        self.bell, self._rope = os.pipe()
        self._open = set()
        self._lock = threading.Lock()

    def opened(self, connection):
        """Call where the connection is accepted, not where it is served: that thread may start late."""
        with self._lock:
            self._open.add(connection)

    def closing(self, connection):
        with self._lock:
            self._open.discard(connection)

    def wait_for_signal(self, seconds):
        """Whether we were asked to stop within this time."""
        return signal.sigtimedwait(STOP, seconds) is not None

    def begin(self):
        self.asked = True
        os.close(self._rope)

    def finish(self):
        """Call when nothing is accepted any more; returns when the agent may exit."""
        time.sleep(ROUND_SECONDS)
        begun, quiet = time.monotonic(), 0
        while self._open and time.monotonic() - begun < CAP_SECONDS:
            quiet = 0 if self._unread() or self.in_flight.value else quiet + 1
            if quiet > 5 and time.monotonic() - begun > IDLE_SECONDS:
                return
            time.sleep(0.01)

    def _unread(self):
        """Whether something has come on a connection that its handler has not read yet."""
        looking = select.poll()
        with self._lock:
            for connection in self._open:
                looking.register(connection, select.POLLIN)
            return bool(looking.poll(0))
