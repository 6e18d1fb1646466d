"""Key pairs for clients on other machines (CURVE): the daemon's own, and those it lets in."""

from __future__ import annotations

import json
import re
from pathlib import Path

import zmq
from zmq.utils import z85

from maskupe.errors import InputError
from maskupe_daemon.private import AccessError, create_json, replace_json, secure_directory

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class KeyRing:
    """The keys in one owner-only directory: ``server.json`` and ``allowed.json``.

    Keys are in Z85, ZeroMQ's 40-character form.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def server_pair(self) -> tuple[bytes, bytes]:
        """The daemon's (public, secret) key, made at first use.

        Raises:
            AccessError: if the directory is not safe or the file damaged.
        """
        secure_directory(self._directory)
        stored = self._load("server.json")
        if not stored:
            public, secret = zmq.curve_keypair()
            stored = {"public": public.decode(), "secret": secret.decode()}
            replace_json(self._directory / "server.json", stored)
        try:
            pair = stored["public"].encode(), stored["secret"].encode()
        except KeyError:
            raise AccessError(f"The key file in {self._directory} is damaged.") from None
        return pair

    def allowed(self) -> dict[str, str]:
        """Public keys of the clients that may connect, by name."""
        return self._load("allowed.json")

    def allows(self, public: bytes) -> bool:
        """Whether a client with this public key (32 raw bytes) may connect."""
        try:
            text = z85.encode(public).decode()
            return text in self.allowed().values()
        except (AccessError, ValueError):
            return False

    def allow(self, name: str, public: str) -> None:
        """Lets a client in.

        Raises:
            InputError: for a name or a key that is none, or a name that is taken.
        """
        if not _NAME.fullmatch(name):
            raise InputError(f"{name!r} is not a name.", "Use letters, digits, '.', '_' and '-'.")
        try:
            valid = len(public) == 40 and len(z85.decode(public.encode())) == 32
        except (ValueError, KeyError):
            valid = False
        if not valid:
            raise InputError("That is not a public key.", "It has 40 characters.")
        secure_directory(self._directory)
        allowed = self.allowed()
        if name in allowed:
            raise InputError(f"There is a key named {name!r} already.", "Revoke it first.")
        replace_json(self._directory / "allowed.json", {**allowed, name: public})

    def create(self, name: str, path: Path) -> None:
        """Makes a key pair for a client, lets it in, and writes its file to ``path``.

        Raises:
            InputError: for a bad name, or a file that exists or cannot be written.
        """
        server_public, _ = self.server_pair()
        public, secret = zmq.curve_keypair()
        if path.exists():
            raise InputError(f"{path} exists.", "Choose another file.")
        self.allow(name, public.decode())
        pair = {
            "name": name,
            "public": public.decode(),
            "secret": secret.decode(),
            "server": server_public.decode(),
        }
        try:
            create_json(path, pair)
        except OSError as error:
            self.revoke(name)
            raise InputError(f"{path} cannot be written: {error.strerror}.") from error

    def revoke(self, name: str) -> None:
        """Lets a client in no more; those connected stay until they disconnect.

        Raises:
            InputError: for an unknown name.
        """
        allowed = self.allowed()
        if name not in allowed:
            raise InputError(f"There is no key named {name!r}.")
        del allowed[name]
        replace_json(self._directory / "allowed.json", allowed)

    def _load(self, name: str) -> dict[str, str]:
        path = self._directory / name
        try:
            values = json.loads(path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise AccessError(f"The key file {path} cannot be read.") from error
        if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
            raise AccessError(f"The key file {path} is damaged.")
        return values
