"""A door between the receiver and its database: it can be shut (refused), or fall silent (nothing comes back)."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Gate:
    """Forwards TCP to a Postgres server.

    Args:
        target: host and port, or the path of a unix socket.
    """

    def __init__(self, target: tuple[str, int] | str) -> None:
        self._target = target
        self._flowing = threading.Event()
        self._pairs: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._place = socket.socket()  # bound, and not listening: while we are shut, nobody else gets the port
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind(("127.0.0.1", 0))
        self.port = self._place.getsockname()[1]
        self.reopen()

    def _accept(self) -> None:
        self._flowing.set()
        self._spawn(self._serve, self._listener)

    def _spawn(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                inside, _ = listener.accept()
            except OSError:
                return
            outside = self._connect()
            self._pairs += [inside, outside]
            self._spawn(self._pump, inside, outside)
            self._spawn(self._pump, outside, inside)

    def _connect(self) -> socket.socket:
        if isinstance(self._target, str):
            outside = socket.socket(socket.AF_UNIX)
            outside.connect(self._target)
            return outside
        return socket.create_connection(self._target)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                self._flowing.wait()
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def silence(self) -> None:
        """Keep connections, pass nothing on."""
        self._flowing.clear()

    def shut(self) -> None:
        """Refuse new connections and cut the ones there are."""
        self._flowing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._pairs:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for end in self._pairs:
            end.close()
        self._pairs.clear()
        self._threads.clear()

    def reopen(self) -> None:
        """Let connections through again, on the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._accept()

    def close(self) -> None:
        """Give the port back."""
        self.shut()
        self._place.close()
