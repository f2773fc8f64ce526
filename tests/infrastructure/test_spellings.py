"""Normal forms of settings that are compared with values from others."""

import pytest

from infrastructure.spellings import issuer, network, origin

ORIGINS = {
    "https://app.example.com": "https://app.example.com",
    "https://app.example.com/": "https://app.example.com",
    "HTTPS://App.Example.COM": "https://app.example.com",
    "https://app.example.com:443": "https://app.example.com",
    "http://app.example.com:80/": "http://app.example.com",
    "http://app.example.com:443": "http://app.example.com:443",
    "https://app.example.com:8443/": "https://app.example.com:8443",
    "http://localhost:3000": "http://localhost:3000",
    "http://127.0.0.1:5173/": "http://127.0.0.1:5173",
    "http://[::1]:3000": "http://[::1]:3000",
    "https://bücher.example": "https://xn--bcher-kva.example",
    "https://faß.example": "https://xn--fa-hia.example",
}


@pytest.mark.parametrize(("written", "sent"), ORIGINS.items())
def test_an_origin_is_as_browsers_send_it(written: str, sent: str) -> None:
    assert origin(written) == sent


@pytest.mark.parametrize(
    "written",
    [
        "*",
        "null",
        "app.example.com",
        "app.example.com:443",
        "//app.example.com",
        "https://",
        "https:///",
        "https://*.example.com",
        "https://app.example.com/app",
        "https://app.example.com?x=1",
        "https://app.example.com#x",
        "https://anna:hunter2@app.example.com",
        "https://app.example.com:port",
        "https://app.example.com:99999",
        "https://app.example.com https://b.example.com",
        "'https://app.example.com'",
        "chrome-extension://abcdef",
        "ftp://app.example.com",
        "https://[::1",
    ],
)
def test_an_invalid_origin_is_refused_and_not_repeated(written: str) -> None:
    with pytest.raises(ValueError, match="must be an origin") as refusal:
        origin(written)

    assert "hunter2" not in str(refusal.value)


NETWORKS = {
    "10.0.0.1": "10.0.0.1/32",
    "10.0.0.0/8": "10.0.0.0/8",
    "10.1.2.3/8": "10.0.0.0/8",
    "10.0.0.0/255.0.0.0": "10.0.0.0/8",
    "::1": "::1/128",
    "[::1]": "::1/128",
    "FD00::/8": "fd00::/8",
    "::ffff:10.0.0.1": "10.0.0.1/32",
    "::ffff:a00:0/104": "10.0.0.0/8",
    "::ffff:0:0/96": "0.0.0.0/0",
    "::/0": "::/0",
}


@pytest.mark.parametrize(("written", "meant"), NETWORKS.items())
def test_a_proxy_is_a_network_of_the_kind_that_its_peer_address_has(
    written: str, meant: str
) -> None:
    assert network(written) == meant


@pytest.mark.parametrize(
    "written",
    [
        "*",
        "localhost",
        "nginx",
        "10.0.0.1:80",
        "10.0.0.256",
        "10.0.0.0/33",
        "10.0.0.1 10.0.0.2",
        "",
    ],
)
def test_names_and_ports_are_refused_as_proxies(written: str) -> None:
    with pytest.raises(ValueError, match="must be addresses or networks"):
        network(written)


ISSUERS = {
    "gatepost": "gatepost",
    "https://accounts.example.com": "https://accounts.example.com",
    "HTTPS://Accounts.Example.com/Realms/Main": "https://accounts.example.com/Realms/Main",
    "https://tenant.example.com/": "https://tenant.example.com/",
}


@pytest.mark.parametrize(("written", "meant"), ISSUERS.items())
def test_the_host_of_an_issuer_is_in_lower_case_and_its_path_unchanged(
    written: str, meant: str
) -> None:
    assert issuer(written) == meant


@pytest.mark.parametrize(
    "written",
    [
        "https://accounts.example.com/.well-known/openid-configuration",
        "https://accounts.example.com?tenant=1",
        "https://accounts.example.com#x",
        "https://anna:hunter2@accounts.example.com",
        "https://",
    ],
)
def test_an_address_that_no_token_has_is_refused_as_issuer(written: str) -> None:
    with pytest.raises(ValueError, match=r"must be") as refusal:
        issuer(written)

    assert "hunter2" not in str(refusal.value)
