"""Keys of any text, and a warning where everyone may use a server."""

import pytest

from hiwm_core.server_access import exposure, has_key, key_header


@pytest.mark.parametrize("key", ["secret", "geheim-ü", "ключ"])
def test_a_key_of_any_text_fits_only_itself(key: str) -> None:
    sent = key_header(key)["Authorization"]
    assert has_key(sent, key)
    assert sent.encode("latin-1") == f"Api-Key {key}".encode()  # as it travels
    for other in ("", "Api-Key ", "Api-Key ü", key_header("other")["Authorization"]):
        assert not has_key(other, key)


def test_without_a_key_everyone_may_come_in() -> None:
    assert key_header("") == {} and has_key("", "") and has_key("Api-Key x", "")


@pytest.mark.parametrize(("address", "key", "warns"), [
    ("127.0.0.1", "", False), ("::1", "", False), ("0.0.0.0", "secret", False),
    ("0.0.0.0", "", True), ("::", "", True), ("192.168.1.5", "", True), ("fe80::1%eth0", "", True),
])
def test_a_server_beyond_this_machine_without_a_key_is_warned_of(
    address: str, key: str, warns: bool
) -> None:
    warning = exposure(address, key, "KEY_VARIABLE")
    assert bool(warning) == warns and (not warns or "KEY_VARIABLE" in warning)
