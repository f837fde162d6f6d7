"""Addresses of servers: what of them may be shown, and what may be sent there."""

import ipaddress
import os
import re
import socket
from urllib.parse import urlsplit

_USER = re.compile(r"//[^/\s]*@|^[^/\s@:]+:[^/\s@]*@")
_QUERY = re.compile(r"(://[^\s?#]*)[?#][^\s?#]*=\S*")
# Of Kubernetes: names of services, and what every container has in its environment.
_CLUSTER_NAMES = (".svc", ".svc.cluster.local")
_CLUSTER_VARIABLE = "KUBERNETES_SERVICE_HOST"


def hide_password(address: str) -> str:
    """Returns an address without what may be secret in it: user and password, and a query or fragment with values."""
    hidden = _USER.sub(lambda found: "//***@" if found[0].startswith("//") else "***@", address)
    return _QUERY.sub(r"\1?***", hidden)


def find_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Returns the address that a host is given by; None for a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            # As one number, in octal or in hexadecimal digits, which resolvers take as well.
            return ipaddress.IPv4Address(socket.inet_aton(host))
        except (OSError, ValueError):
            return None
    return getattr(address, "ipv4_mapped", None) or address


def is_here(host: str) -> bool:
    """Returns whether a host is this machine."""
    address = find_address(host)
    return host.rstrip(".") == "localhost" or (address is not None and address.is_loopback)


def is_in_cluster(host: str) -> bool:
    """Returns whether a host is the name of a Kubernetes service; a short one only where this process is in a cluster itself."""
    host = host.rstrip(".")
    is_short = _CLUSTER_VARIABLE in os.environ and host.count(".") <= 1
    return find_address(host) is None and (is_short or host.endswith(_CLUSTER_NAMES))


def is_read_on_the_way(address: str) -> bool:
    """Returns whether everybody on the way can read what is sent to an address: http that leaves this machine and its cluster."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return False  # nothing can be sent there
    return parts.scheme == "http" and bool(host) and not is_here(host) and not is_in_cluster(host)
