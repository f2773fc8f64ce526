import pytest

from tests.api.client import ApiClient, application, client_of, on_one_database
from tests.api.expected import Expected

ROUTES = [Expected(operation="read_home", route="GET /")]

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@on_one_database
@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
async def test_the_home_page_in_json_has_name_version_and_links(
    api: ApiClient, accept: str
) -> None:
    answer = await api.client.get("/", headers={"Accept": accept})

    assert answer.status_code == 200
    assert "Accept" in answer.headers["Vary"].split(", ")
    home = answer.json()
    assert (home["name"], home["version"]) == ("Gatepost", api.app.version)
    for path in home["links"].values():
        assert (await api.client.get(path)).status_code in (200, 303)


@on_one_database
async def test_a_browser_is_led_to_the_console(api: ApiClient) -> None:
    answer = await api.client.get("/", headers={"Accept": BROWSER})

    assert (answer.status_code, answer.headers["Location"]) == (303, "/console")
    assert "Accept" in answer.headers["Vary"].split(", ")


@on_one_database
async def test_without_a_console_the_home_page_in_html_has_the_links(api: ApiClient) -> None:
    async with client_of(application(api.ports, console=False)) as client:
        answer = await client.get("/", headers={"Accept": BROWSER})

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Accept" in answer.headers["Vary"].split(", ")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert 'href="/docs"' in answer.text
    assert "console" not in answer.text


@on_one_database
async def test_links_start_with_the_root_path(api: ApiClient) -> None:
    async with client_of(api.app, root_path="/gate") as client:
        answer = await client.get("/gate/")

    assert answer.json()["links"]["docs"] == "/gate/docs"
