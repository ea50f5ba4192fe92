"""A certificate of this machine's own for https: browsers offer WebXR nowhere else.

Nobody vouches for it, so a browser warns once. It is kept, so that a browser need not be asked
again at the next session. Tested by ``test_certificate.py``.
"""

import os
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path

from hiwm_core.errors import HiwmError

_DAYS = 825  # browsers refuse certificates that are valid for longer
_SPARE_S = 86_400  # a new one is made if the old one ends sooner than this


def certificate_folder() -> Path:
    """Return where this user's certificate is kept."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "hiwm", "console")


def server_context(folder: Path, names: Sequence[str]) -> ssl.SSLContext:
    """Return what a server needs to encrypt; makes the certificate if there is no valid one.

    Args:
        folder: of `certificate.pem` and `key.pem`, which may be your own.
        names: of this machine, for a new certificate.

    Raises:
        HiwmError: openssl is missing or fails, or a file cannot be read or written.
    """
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    try:
        if not (key.is_file() and _valid(certificate)):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _make(certificate, key, names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
    except FileNotFoundError as error:
        raise HiwmError(
            "openssl is not installed", where=str(folder),
            remedy="install openssl, or put certificate.pem and key.pem there",
        ) from error
    except OSError as error:  # ssl.SSLError is one
        raise HiwmError(
            f"https needs a certificate: {error}", where=str(folder),
            remedy="remove certificate.pem and key.pem there, and start again",
        ) from error
    return context


def _valid(certificate: Path) -> bool:
    return certificate.is_file() and not _openssl(
        "x509", "-in", str(certificate), "-noout", "-checkend", str(_SPARE_S)
    ).returncode


def _make(certificate: Path, key: Path, names: Sequence[str]) -> None:
    known = ",".join(["IP:127.0.0.1", *(f"DNS:{name}" for name in dict.fromkeys(names) if name)])
    made = _openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-keyout", str(key), "-out", str(certificate), "-days", str(_DAYS),
        "-subj", "/CN=hiwm console", "-addext", f"subjectAltName={known}",
    )
    if made.returncode:
        raise HiwmError(
            f"openssl makes no certificate: {made.stderr.strip()[-200:]}", where=str(certificate),
            remedy="put a certificate.pem and a key.pem of your own there",
        )
    key.chmod(0o600)


def _openssl(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
