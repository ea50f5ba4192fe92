"""Who may look and who may drive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiwm_console.access import AccessRules, host_name, is_loopback

HERE = {"host": "localhost:8642"}


@pytest.mark.parametrize("host", [
    "localhost:8642", "127.0.0.1:9000", "[::1]:8642", "LOCALHOST", "192.168.1.7:80",
    "gpu-box:8642",
])
def test_this_machines_names_are_known(host):
    rules = AccessRules(hosts=("gpu-box",), token="word")
    assert rules.judge("127.0.0.1", {"host": host}, "word").drive


@pytest.mark.parametrize("host", [
    "evil.example", "evil.example:8642", "localhost.evil.example", "", "[", "a b", "[::1", "user@",
    "127.0.0.1.nip.io", "evil.example@127.0.0.1", "127.0.0.1/evil.example", "127.0.0.1%evil",
    "127.0.0.1, evil.example", "127.0.0.1:80:80",
])
def test_other_machines_names_are_not(host):
    access = AccessRules(hosts=("gpu-box",)).judge("127.0.0.1", {"host": host})
    assert not access.look and not access.drive and access.reason


@pytest.mark.parametrize(("origin", "fits"), [
    ("http://localhost:8642", True),
    ("https://localhost:8642", True),
    ("http://localhost:8643", False),
    ("http://evil.example", False),
    ("http://localhost:8642.evil.example", False),
    ("file://localhost:8642", False),
    ("null", False),
    ("http://[", False),
    ("http://demo.example", True),
])
def test_only_our_own_page_and_allowed_ones_may_connect(origin, fits):
    rules = AccessRules(origins=("http://demo.example",), token="word")
    access = rules.judge("127.0.0.1", {**HERE, "origin": origin}, "word")
    assert access.look is fits and access.drive is fits


def test_beyond_this_machine_one_may_look():
    access = AccessRules().judge("192.168.1.9", {"host": "192.168.1.7:8642"})
    assert access.look and not access.drive and "token" in access.reason


@pytest.mark.parametrize("rules", [
    AccessRules(hosts=("gpu-box",)), AccessRules(origins=("http://demo.example",)),
    AccessRules(origins=("null",)),
])
def test_where_others_are_allowed_nobody_drives_without_a_token(rules):
    for headers in (HERE, {**HERE, "origin": "http://localhost:8642"}):
        access = rules.judge("127.0.0.1", headers)
        assert access.look and not access.drive and "token" in access.reason


def test_a_silent_proxy_reached_by_its_address_makes_nobody_local():
    headers = {"host": "192.168.1.7", "origin": "http://192.168.1.7"}
    access = AccessRules().judge("127.0.0.1", headers)
    assert access.look and not access.drive and "token" in access.reason


@pytest.mark.parametrize("header", [
    "x-forwarded-for", "x-forwarded-proto", "forwarded", "via", "x-real-ip",
])
def test_a_proxy_on_this_machine_makes_nobody_local(header):
    access = AccessRules().judge("127.0.0.1", {**HERE, header: "10.0.0.1"})
    assert access.look and not access.drive


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.0.0.1"])
def test_with_a_token_the_token_decides(peer):
    rules = AccessRules(token="Zürich-7")
    assert rules.judge(peer, HERE, "Zürich-7").drive
    for wrong in ("", "zürich-7", "Zürich-7 ", "\0", "x" * 10_000):
        access = rules.judge(peer, HERE, wrong)
        assert access.look and not access.drive and "token" in access.reason


@given(st.text(), st.dictionaries(st.sampled_from(["host", "origin", "forwarded"]), st.text()),
       st.text())
def test_nonsense_neither_harms_nor_drives(peer, headers, token):
    assert not AccessRules(token="secret").judge(peer, headers, token).drive or token == "secret"
    AccessRules().judge(peer, headers, token)
    host_name(headers.get("host", ""))


def test_loopback():
    assert is_loopback("127.0.0.5") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("0.0.0.0") and not is_loopback("example.org") and not is_loopback("")
