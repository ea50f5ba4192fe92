"""Who may use a server: its key, and the address that it is bound to."""

import hmac
from ipaddress import ip_address


def key_header(api_key: str) -> dict[str, str]:
    """Return the header with a key, as `has_key` expects it; none without a key."""
    if not api_key:
        return {}
    # The websockets library encodes headers by ISO 8859-1.
    return {"Authorization": f"Api-Key {api_key}".encode().decode("latin-1")}


def has_key(header: str, api_key: str) -> bool:
    """Return whether a header ``Authorization`` holds the key; an empty key lets everyone in.

    Args:
        header: as the websockets library decodes it, by ISO 8859-1.
        api_key: any text, sent as UTF-8.
    """
    sent = header.encode("latin-1", "surrogateescape")
    return not api_key or hmac.compare_digest(sent, f"Api-Key {api_key}".encode())


def exposure(address: str, api_key: str, variable: str) -> str:
    """Return a warning if other machines may use a server without a key, or nothing.

    Args:
        address: IP address that the server is bound to.
        api_key: empty = none.
        variable: environment variable for the key.
    """
    if api_key or ip_address(address.partition("%")[0]).is_loopback:
        return ""
    return (
        f"warning: every machine that reaches {address} may use this server: set {variable} "
        "here and at the client, or bind 127.0.0.1 and use an SSH tunnel"
    )
