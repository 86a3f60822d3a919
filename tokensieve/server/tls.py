"""Check the TLS certificate and its key before the server starts."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from tokensieve.errors import InputError

log = logging.getLogger("tokensieve")

EXPIRED, NOT_YET_VALID = 10, 9  # OpenSSL's error codes


def check(certificate: Path, key: Path) -> None:
    """Check that certificate and key belong together. Warn if the certificate is not valid now.

    Raises:
        InputError: If a file cannot be read, is not PEM or is encrypted, or if they do not belong
            together.
    """
    for path in (certificate, key):
        try:
            path.read_bytes()
        except OSError as error:
            raise InputError(
                f"{path} cannot be read ({error.strerror}); pass the PEM files of certificate and key"
            ) from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise InputError(
                f"{key} is not the private key of {certificate}; pass files that belong together"
            ) from None
        reason = f" ({error.reason.lower().replace('_', ' ')})" if error.reason else ""
        raise InputError(
            f"{certificate} and {key} are not a PEM certificate and its PEM key{reason}; pass such files"
        ) from None
    if fault := _validity_fault(context, certificate):
        # Start anyway: some clients do not check it, and refusing would turn a restart into an
        # outage.
        log.warning("%s %s; clients that check it will refuse the connection: renew it", certificate, fault)


def _refuse_password() -> str:
    # Without this, OpenSSL would prompt for a password on the terminal, and the server would hang.
    raise InputError(
        "the private key of --tls-key is encrypted; decrypt it first: openssl pkey -in KEY -out NEW"
    )


def _validity_fault(server: ssl.SSLContext, certificate: Path) -> str:
    """Return what is wrong with the dates of the certificate, found by a handshake in memory."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        client.load_verify_locations(certificate)
        _shake_hands(client, server)
    except ssl.SSLCertVerificationError as error:
        return {EXPIRED: "has expired", NOT_YET_VALID: "is not valid yet"}.get(error.verify_code, "")
    except ssl.SSLError:
        return ""
    return ""


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
