"""Who may look and who may drive, from a connection's address, headers and token.

The rules, tested by `test_access.py`:

- A browser's Host must name this machine: an address, localhost, the machine's own name or an
  allowed one. Any other name that resolves here (DNS rebinding) is refused.
- A browser's Origin must be the page's own, or an allowed one: no other site's page may connect
  from a visitor's browser.
- With a token set, driving needs the token. Without one, a connection from this machine to one of
  its loopback names may drive; any other may only look. A connection forwarded by a proxy counts as
  one from another machine.
- If further hosts or origins are allowed, driving always needs a token: a proxy that sends no
  forwarding header makes every client look local.
"""

import hmac
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

LOOPBACK_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost")
# A proxy on this machine makes every client look local. Most proxies send one of these headers, or
# one that starts with x-forwarded.
_FORWARDED = ("forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip")
# A name or address and a port, as browsers send them: no user, path or zone.
_HOST = re.compile(r"(\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[\w.-]+))(:[0-9]{1,5})?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Access:
    """What a connection may do."""

    look: bool
    drive: bool
    reason: str = ""  # why not more, human-readable


def is_loopback(address: str) -> bool:
    """Return whether an address is a loopback address of this machine."""
    if address in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(address.split("%")[0]).is_loopback
    except ValueError:
        return False


def _is_proxy_header(header: str) -> bool:
    return header in _FORWARDED or header.startswith("x-forwarded")


def host_name(host: str) -> str:
    """Return the name in a Host header, without port and brackets; empty if it is malformed."""
    found = _HOST.fullmatch(host)
    return (found["v6"] or found["name"]).lower() if found else ""


@dataclass(frozen=True, kw_only=True)
class AccessRules:
    """The access settings of a server.

    `token`: required to drive; empty = none. `hosts`: further names of this machine. `origins`:
    further allowed origins, such as `http://localhost:8000`, or `null` for pages opened from files.
    """

    token: str = ""
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    @property
    def needs_token(self) -> bool:
        """Whether driving always requires a token."""
        return bool(self.token or self.hosts or self.origins)

    def judge(self, peer: str, headers: Mapping[str, str], token: str = "") -> Access:
        """Return what a connection may do.

        Args:
            peer: the client's address.
            headers: of its request; names in lower case.
            token: the token it sent, empty for none.
        """
        name = host_name(headers.get("host", ""))
        if not self._own_name(name):
            return Access(look=False, drive=False, reason="the address names another machine")
        origin = headers.get("origin", "")
        if origin and not self._own_origin(origin, headers.get("host", "")):
            return Access(
                look=False, drive=False, reason="a page of another origin may not connect"
            )
        if self.token:
            if hmac.compare_digest(token.encode(), self.token.encode()):
                return Access(look=True, drive=True)
            why = "the token is wrong" if token else "driving needs the token"
            return Access(look=True, drive=False, reason=f"view only: {why}")
        if self.needs_token:
            return Access(
                look=True, drive=False,
                reason="view only: with further hosts or origins allowed, driving needs a token",
            )
        # A loopback peer with another Host came through a proxy or a forwarded port.
        if is_loopback(peer) and is_loopback(name) and not any(map(_is_proxy_header, headers)):
            return Access(look=True, drive=True)
        return Access(
            look=True, drive=False, reason="view only: driving from another machine needs a token"
        )

    def _own_name(self, name: str) -> bool:
        if not name:
            return False
        try:
            ipaddress.ip_address(name.split("%")[0])
        except ValueError:
            return name in LOOPBACK_NAMES or name in {host.lower() for host in self.hosts}
        return True  # an address needs no name service

    def _own_origin(self, origin: str, host: str) -> bool:
        if origin in self.origins:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()
