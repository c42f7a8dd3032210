"""Access control: local programs only, or visitors with a token or a login."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from core.errors import AccessError
from core.web.request_origin import is_loopback

TOKEN_BYTES = 32
"""Random bytes of a generated token."""

TOKEN_LENGTHS = range(12, 257)
"""Allowed lengths of a token from the environment; it must fit into a form."""

ALL_ADDRESSES = {"0.0.0.0", "::"}  # noqa: S104 - to recognize them, not to bind to them


@dataclass(frozen=True)
class Access:
    """Access settings of a server."""

    address: str
    """Address to listen on; empty for all."""

    token: str | None
    """Token required from visitors; None if none is."""

    made: bool
    """Whether the token was generated at this start."""

    login: bool
    """Whether visitors sign in with an OpenID Connect provider."""

    hosts: tuple[str, ...]
    """Accepted host names."""

    proxies: tuple[str, ...] = ()
    """Networks of proxies whose information about a visitor's address is trusted."""

    @classmethod
    def decide(
        cls, address: str | None, environment: Mapping[str, str], hosts: Sequence[str] = (), login: bool = False
    ) -> Access:
        """Determine the settings; without token or login, only this machine has access.

        Args:
            address: address that the server will listen on.
            environment: may contain ``LORA_LAB_TOKEN``, ``LORA_LAB_HOSTS`` (comma-separated names) and
                ``LORA_LAB_PROXIES``.
            hosts: further accepted host names.
            login: whether an OpenID Connect provider is configured.

        Raises:
            AccessError: the token is too short, too long, or not printable ASCII; or a proxy is invalid.
        """
        token = environment.get("LORA_LAB_TOKEN") or None
        if token is not None and (len(token) not in TOKEN_LENGTHS or not token.isascii() or not token.isprintable()):
            raise AccessError(
                f"LORA_LAB_TOKEN must have {TOKEN_LENGTHS.start} to {TOKEN_LENGTHS.stop - 1} printable ASCII"
                " characters, best random ones; leave it unset to have one generated."
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
            proxies=trusted_proxies(environment.get("LORA_LAB_PROXIES", "")),
        )

    @property
    def is_open(self) -> bool:
        """Whether neither token nor login is required, so that only this machine may reach the server."""
        return self.token is None and not self.login

    def check_address(self, address: str | None) -> None:
        """Check the address that the server actually listens on, which another launcher may have chosen.

        Raises:
            AccessError: neither token nor login is required, and other machines can reach the address.
        """
        if self.is_open and not is_loopback(address):
            raise AccessError(
                f"LoRA Lab does not listen on {address or 'all addresses'} without a token: set LORA_LAB_TOKEN,"
                " or start it with `streamlit run app.py --server.address ADDRESS`, which generates one."
            )

    def announcement(self, scheme: str, port: int, base: str = "") -> str:
        """The text for the terminal at start: the URLs to open, including the token if it was generated."""
        query = f"/?token={quote(self.token, safe='')}" if self.token and self.made else ""
        names = ["localhost"] if is_loopback(self.address) else reachable_names(self.address)
        lines = ["LoRA Lab is at", *(f"  {scheme}://{_in_url(name)}:{port}{base}{query}" for name in names)]
        if self.made:
            lines.append("Anyone with this URL can use this server. Set LORA_LAB_TOKEN to use a permanent token.")
        elif self.token:
            lines.append("It requires the token in LORA_LAB_TOKEN.")
        if self.login:
            lines.append("Visitors sign in with the provider in .streamlit/secrets.toml.")
        if not is_loopback(self.address) and scheme == "http":
            lines.append(
                "Connections are not encrypted: outside of a trusted network, put a proxy with TLS in front of it."
            )
        return "\n".join(lines)


def trusted_proxies(listed: str) -> tuple[str, ...]:
    """Networks in a comma-separated list; IPv4 ones also as IPv6-mapped, as a dual-stack socket reports them.

    Raises:
        AccessError: an entry is neither an address nor a network.
    """
    found = []
    for part in filter(None, (part.strip() for part in listed.split(","))):
        try:
            network = ipaddress.ip_network(part)
        except ValueError as error:
            raise AccessError(
                "LORA_LAB_PROXIES must be a comma-separated list of addresses or networks, such as"
                f" 127.0.0.1,10.0.0.0/8; {part[:60]!r} is neither."
            ) from error
        found.append(str(network))
        if network.version == 4:
            found.append(f"::ffff:{network.network_address}/{96 + network.prefixlen}")
    return tuple(found)


def reachable_names(address: str) -> list[str]:
    """Host names for URLs of a server that listens on an address, the most local first."""
    if address and address not in ALL_ADDRESSES:
        return [address]
    own = _network_address()
    return ["localhost", *([own] if own else [])]


def _network_address() -> str | None:
    """Address of this machine in its network; None if it has none. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation: this only looks up the route
            return str(probe.getsockname()[0])
        except OSError:
            return None


def _in_url(name: str) -> str:
    return f"[{name}]" if ":" in name else name
