"""Who may look and who may drive, from what a connection shows of itself.

The rules, held by `test_access.py`:

- The Host a browser names must be one of this machine: an address, localhost, the machine's own
  name or one that was allowed. A foreign name that resolves here (DNS rebinding) is refused.
- A browser's Origin must be the page's own, or one that was allowed: no other site's page may
  connect from a visitor's browser.
- With a token set, driving needs the token. Without one, a connection from this machine, to one of
  its loopback names, may drive and any other may only look. One that a proxy forwards counts as
  another machine's.
- Where further hosts or origins are allowed, driving needs a token in any case: a proxy that says
  nothing of itself makes every client look like one of this machine.
"""

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

LOOPBACK_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost")
# A proxy on this machine makes everyone look local. Most say so in one of these headers, or in one
# that begins with x-forwarded.
_FORWARDED = ("forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip")


@dataclass(frozen=True, kw_only=True)
class Access:
    """What a connection is allowed."""

    look: bool
    drive: bool
    reason: str = ""  # why not more, for people


def is_loopback(address: str) -> bool:
    """Return whether an address is this machine's own."""
    if address in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(address.split("%")[0]).is_loopback
    except ValueError:
        return False


def _tells_of_a_proxy(header: str) -> bool:
    return header in _FORWARDED or header.startswith("x-forwarded")


def host_name(host: str) -> str:
    """Return the name in a Host header, without port and brackets; empty for nonsense."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


@dataclass(frozen=True, kw_only=True)
class AccessRules:
    """What a server was told about itself.

    `token`: needed to drive; empty = none. `hosts`: further names of this machine. `origins`:
    further origins, such as `http://localhost:8000`, or `null` for pages opened from files.
    """

    token: str = ""
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    @property
    def needs_token(self) -> bool:
        """Whether nobody may drive without a token."""
        return bool(self.token or self.hosts or self.origins)

    def judge(self, peer: str, headers: Mapping[str, str], token: str = "") -> Access:
        """Return what a connection may do.

        Args:
            peer: its address.
            headers: of its request; names in lower case.
            token: the one it showed, empty for none.
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
        # A loopback peer that asked for another address came through a proxy or a forwarded port.
        if is_loopback(peer) and is_loopback(name) and not any(map(_tells_of_a_proxy, headers)):
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
        return True  # an address came from no name service

    def _own_origin(self, origin: str, host: str) -> bool:
        if origin in self.origins:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()
