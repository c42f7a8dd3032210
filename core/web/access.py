"""Who may come in: everybody on this machine, or whoever has the token or has signed in."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from core.errors import AccessError
from core.web.doors import is_loopback
from core.web.peers import NO_PROXIES, Proxies
from core.web.token_strength import is_weak

TOKEN_BYTES = 32
"""Randomness of a token that is made at start."""

TOKEN_LENGTHS = range(16, 257)
"""Characters of a token that somebody sets: short enough for a form."""

ALL_ADDRESSES = {"0.0.0.0", "::"}  # noqa: S104 - to tell them, not to bind them


@dataclass(frozen=True)
class Access:
    """How a server guards its door."""

    address: str
    """Where it listens; empty for everywhere."""

    token: str | None
    """What visitors have to show; None where they need not."""

    made: bool
    """Whether the token was made at this start."""

    login: bool
    """Whether visitors sign in with an OpenID Connect provider."""

    hosts: tuple[str, ...]
    """Names that it answers to."""

    proxies: Proxies = NO_PROXIES
    """Whose word it takes for where a visitor comes from."""

    @classmethod
    def decide(
        cls, address: str | None, environment: Mapping[str, str], hosts: Sequence[str] = (), login: bool = False
    ) -> Access:
        """What an address asks for: beyond this machine nobody comes in without token or login.

        Args:
            address: where the server will listen.
            environment: with ``LORA_LAB_TOKEN``, ``LORA_LAB_HOSTS`` (names, separated by commas) and
                ``LORA_LAB_PROXIES`` where they are set.
            hosts: names that the server answers to anyway.
            login: whether an OpenID Connect provider is configured.

        Raises:
            AccessError: the token is too short, too long, easy to guess, or cannot stand in a form; or a proxy is none.
        """
        token = environment.get("LORA_LAB_TOKEN") or None
        if token is not None and (len(token) not in TOKEN_LENGTHS or not token.isascii() or not token.isprintable()):
            raise AccessError(
                f"LORA_LAB_TOKEN must have {TOKEN_LENGTHS.start} to {TOKEN_LENGTHS.stop - 1} printable ASCII"
                " characters; leave it unset to have one made."
            )
        if token is not None and is_weak(token):
            raise AccessError(
                "LORA_LAB_TOKEN is easy to guess: take a long random one, as"
                " `python3 -c 'import secrets; print(secrets.token_urlsafe())'` makes it, or leave it unset."
            )
        beyond = not is_loopback(address)
        made = token is None and beyond and not login
        names = [*hosts, *environment.get("LORA_LAB_HOSTS", "").split(","), *reachable_names(address or "")]
        return cls(
            address=address or "",
            token=secrets.token_urlsafe(TOKEN_BYTES) if made else token,
            made=made,
            login=login,
            hosts=tuple(dict.fromkeys(filter(None, (name.strip().strip("[]").lower() for name in names)))),
            proxies=Proxies.from_environment(environment),
        )

    @property
    def is_open(self) -> bool:
        """Whether everybody who can reach it may come in, so that nobody else must be able to."""
        return self.token is None and not self.login

    def check_address(self, address: str | None) -> None:
        """See that the door fits where the server really listens, which another launcher may have chosen.

        Raises:
            AccessError: the door is open, and the address is reached from elsewhere.
        """
        if self.is_open and not is_loopback(address):
            raise AccessError(
                f"LoRA Lab does not listen on {address or 'all addresses'} without a token: set LORA_LAB_TOKEN,"
                " or start it with `streamlit run app.py --server.address ADDRESS`, which makes one."
            )

    def announcement(self, scheme: str, port: int, base: str = "") -> str:
        """What a terminal shows at start: the addresses to open, with the token where it was made just now."""
        query = f"/?token={quote(self.token, safe='')}" if self.token and self.made else ""
        names = ["localhost"] if is_loopback(self.address) else reachable_names(self.address)
        lines = ["LoRA Lab is at", *(f"  {scheme}://{_in_url(name)}:{port}{base}{query}" for name in names)]
        if self.made:
            lines.append("Whoever has this address can use this server. Set LORA_LAB_TOKEN to keep one token.")
        elif self.token:
            lines.append("It asks for the token in LORA_LAB_TOKEN.")
        if self.login:
            lines.append("Visitors sign in with the provider in .streamlit/secrets.toml.")
        if not is_loopback(self.address) and scheme == "http":
            lines.append(
                "What is sent is not encrypted: beyond a network that you trust, put a proxy with TLS before it."
            )
        return "\n".join(lines)


def reachable_names(address: str) -> list[str]:
    """Names under which a browser reaches what listens on an address, the nearest first."""
    if address and address not in ALL_ADDRESSES:
        return [address]
    own = _network_address()
    return ["localhost", *([own] if own else [])]


def _network_address() -> str | None:
    """The address of this machine in its network; None where it has none. Nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation: only the route to it is looked up
            return str(probe.getsockname()[0])
        except OSError:
            return None


def _in_url(name: str) -> str:
    return f"[{name}]" if ":" in name else name
