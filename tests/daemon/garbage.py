"""What should never come to the daemon's door: bytes of other protocols, old greetings, noise."""

import socket

import numpy as np

# A ZMTP 1.0 DEALER: a length and flags for its empty identity, then two frames. And a ZMTP 2.0 one.
ZMTP1 = b"\x01\x00" + b"\x02\x01x" + b"\x03\x00hi"
ZMTP2 = b"\xff" + bytes(8) + b"\x7f\x01\x05" + b"\x00\x00" + b"\x00\x02hi"
NULL_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + bytes(32)
GARBAGE = {
    "http": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
    "zmtp1": ZMTP1,
    "zmtp2": ZMTP2,
    "null": NULL_GREETING
    + b"\x04\x26\x05READY"
    + b"\x0bSocket-Type\x00\x00\x00\x06DEALER"
    + b"\x00\x01x",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
    "nothing": b"",
    "half a greeting": NULL_GREETING[:20],
    "noise": np.random.default_rng(0).bytes(5000),
    "huge frame": NULL_GREETING + b"\x02" + b"\x7f" + b"\xff" * 7,
}


def poke(endpoint, data):
    """Sends raw bytes to an endpoint and reads what comes until it closes or falls silent."""
    scheme, _, address = endpoint.partition("://")
    if scheme == "ipc":
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(address)
    else:
        host, port = address.rsplit(":", 1)
        sock = socket.create_connection((host, int(port)))
    with sock:
        sock.settimeout(0.3)
        try:
            sock.sendall(data)
            while sock.recv(4096):
                pass
        except (TimeoutError, ConnectionError):
            pass
