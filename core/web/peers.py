"""Identify the peers of connections, and the trusted proxies among them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from core.errors import AccessError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

IPV6_PREFIX = 64
"""Length of the IPv6 prefix that identifies a household or machine, which can choose the other bits freely."""

MAX_NAME = 64
"""Maximum length of a name that is not an address."""


def peer_of(address: str | None) -> str:
    """The key under which a peer is counted: an IPv4 address, the /64 of an IPv6 address, or another name.

    Args:
        address: address of the peer from the socket or a trusted proxy; IPv4 may be mapped to IPv6.
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
    """Proxies whose ``X-Forwarded-For`` header is trusted; none by default."""

    networks: tuple[Network, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Proxies:
        """Read ``LORA_LAB_PROXIES``, a comma-separated list of addresses or networks.

        Raises:
            AccessError: an entry is neither.
        """
        networks = []
        for part in filter(None, (part.strip() for part in environment.get("LORA_LAB_PROXIES", "").split(","))):
            try:
                networks.append(ipaddress.ip_network(part))
            except ValueError as error:
                raise AccessError(
                    "LORA_LAB_PROXIES must be a comma-separated list of addresses or networks, such as"
                    f" 127.0.0.1,10.0.0.0/8; {part[:60]!r} is neither."
                ) from error
        return cls(tuple(networks))

    def __bool__(self) -> bool:
        return bool(self.networks)

    def trusts(self, address: str | None) -> bool:
        """Whether this is the address of a trusted proxy."""
        try:
            ip = ipaddress.ip_address(address or "")
        except ValueError:
            return False
        mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        return any((mapped or ip) in network for network in self.networks)

    def spellings(self) -> list[str]:
        """All networks as text; IPv4 ones also as IPv6-mapped, as a dual-stack socket reports them."""
        mapped = [
            f"::ffff:{network.network_address}/{96 + network.prefixlen}"
            for network in self.networks
            if isinstance(network, ipaddress.IPv4Network)
        ]
        return [*map(str, self.networks), *mapped]


NO_PROXIES = Proxies()
