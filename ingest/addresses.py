"""Decide which addresses webhooks and polls of feeds may go to: those of the public internet.

A person who edits the settings, or controls the DNS of a URL's host, must not be able to make Foreshock reach the
machines of its own network. `connection` checks each address that a name resolves to.
"""

from __future__ import annotations

import ipaddress
import socket

NAT64 = ipaddress.ip_network("64:ff9b::/96")
LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")


def refusal(address: str) -> str | None:
    """Return why this address is refused (`a loopback address`), or None if it belongs to the public internet."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and (ip in NAT64 or ip.packed[:12] == bytes(12)):
            inner = ipaddress.IPv4Address(ip.packed[12:])  # NAT64, or the deprecated IPv4-compatible form
        if inner is not None and int(ip) > 1:
            return refusal(str(inner))
    kinds = (
        ("an unspecified address", ip.is_unspecified),
        ("a loopback address", ip.is_loopback),
        ("a link-local address", ip.is_link_local),
        ("a multicast address", ip.is_multicast),
        ("a private address", ip.is_private or (ip.version == 6 and (ip.is_site_local or ip in LOCAL_NAT64))),
        ("a reserved address", ip.is_reserved or not ip.is_global),  # includes 100.64.0.0/10 (carrier-grade NAT)
    )
    return next((kind for kind, holds in kinds if holds), None)


def literal_refusal(host: str) -> str | None:
    """Return the `refusal` of a host that is an address, or None if it is a name.

    The address may have any form that the system accepts (`2130706433`, `0x7f.1`).
    """
    try:
        return refusal(host)
    except ValueError:
        pass
    try:
        return refusal(socket.inet_ntoa(socket.inet_aton(host)))
    except (OSError, ValueError):
        return None
