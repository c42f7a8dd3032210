"""Who is asked for a token, which hosts are answered, and which tokens serve."""

from __future__ import annotations

import secrets
import string

import pytest

from core.errors import AccessError
from core.web.guard import Access
from tests.web.asking import TOKEN

LOCAL = ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "::ffff:127.0.0.1"]
ELSEWHERE = [
    *("", None, "0.0.0.0", "::", "10.0.0.5", "192.168.1.4", "lab.example", "localhost.example", "::ffff:10.0.0.5")
]


@pytest.mark.parametrize("address", LOCAL)
def test_on_this_machine_nobody_is_asked(address: str) -> None:
    access = Access.decide(address, {}, ["localhost"])
    assert access.is_open
    access.check_address(address)
    assert "token" not in access.announcement("http", 8501)


@pytest.mark.parametrize("address", ELSEWHERE)
def test_beyond_this_machine_there_is_a_token_or_a_login(address: str | None) -> None:
    made = [Access.decide(address, {}, ["localhost"]) for _ in range(2)]
    assert made[0].token != made[1].token
    assert all(len(access.token or "") >= 43 and not access.is_open for access in made)
    assert f"/lab/?token={made[0].token}" in made[0].announcement("http", 8501, "/lab")
    own = Access.decide(address, {"LORA_LAB_TOKEN": TOKEN})
    assert own.token == TOKEN
    assert TOKEN not in own.announcement("http", 8501)
    assert Access.decide(address, {"LORA_LAB_TOKEN": ""}).made
    assert Access.decide(address, {}, login=True).token is None
    with pytest.raises(AccessError, match="LORA_LAB_TOKEN"):
        Access.decide("127.0.0.1", {}).check_address(address)


@pytest.mark.parametrize("token", ["x", "ten_and_one", "x" * 257, "a token\nof two lines", "ein Schlüssel von mir"])
def test_a_token_that_cannot_serve_is_refused(token: str) -> None:
    with pytest.raises(AccessError, match="12 to 256") as caught:
        Access.decide("127.0.0.1", {"LORA_LAB_TOKEN": token})
    assert len(token) == 1 or token not in str(caught.value)


def test_the_hosts_are_those_told_and_where_it_listens() -> None:
    environment = {"LORA_LAB_HOSTS": " Lab.example ,,[fd00::1]"}
    assert Access.decide("10.0.0.5", environment, ["localhost"]).hosts == (
        "localhost",
        "lab.example",
        "fd00::1",
        "10.0.0.5",
    )


def test_a_random_token_is_taken() -> None:
    for length in (12, 24, 43, 256):
        token = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))
        assert Access.decide("127.0.0.1", {"LORA_LAB_TOKEN": token}).token == token
