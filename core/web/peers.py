"""Who is at the other end of a connection, and whose word about it counts."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from core.errors import AccessError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

IPV6_PREFIX = 64
"""Bits of an IPv6 address that one household or machine is given as a whole: it can choose the others at will."""

MAX_NAME = 64
"""Characters kept of what is no address."""


def peer_of(address: str | None) -> str:
    """The name under which a peer is counted: an IPv4 address, the /64 of an IPv6 address, or what else it is called.

    Args:
        address: of the other end, as the socket or a trusted proxy says it; IPv4 may come mapped into IPv6.
    """
    try:
        ip = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return (address or "")[:MAX_NAME]
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is None:
            return str(ipaddress.ip_network((ip, IPV6_PREFIX), strict=False))
        ip = ip.ipv4_mapped
    return str(ip)


@dataclass(frozen=True)
class Proxies:
    """The proxies that may say, by ``X-Forwarded-For``, for whom they ask; none unless they are named."""

    networks: tuple[Network, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Proxies:
        """Those in ``LORA_LAB_PROXIES``: addresses or networks, separated by commas.

        Raises:
            AccessError: one of them is neither.
        """
        networks = []
        for part in filter(None, (part.strip() for part in environment.get("LORA_LAB_PROXIES", "").split(","))):
            try:
                networks.append(ipaddress.ip_network(part))
            except ValueError as error:
                raise AccessError(
                    "LORA_LAB_PROXIES must name addresses or networks of proxies, separated by commas, as in"
                    f" 127.0.0.1,10.0.0.0/8; {part[:60]!r} is neither."
                ) from error
        return cls(tuple(networks))

    def __bool__(self) -> bool:
        return bool(self.networks)

    def trusts(self, address: str | None) -> bool:
        """Whether this is the address of one of them."""
        try:
            ip = ipaddress.ip_address(address or "")
        except ValueError:
            return False
        mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        return any((mapped or ip) in network for network in self.networks)

    def spellings(self) -> list[str]:
        """All of them as text; IPv4 also as a socket that listens on IPv6 and IPv4 shows it."""
        mapped = [
            f"::ffff:{network.network_address}/{96 + network.prefixlen}"
            for network in self.networks
            if isinstance(network, ipaddress.IPv4Network)
        ]
        return [*map(str, self.networks), *mapped]


NO_PROXIES = Proxies()
