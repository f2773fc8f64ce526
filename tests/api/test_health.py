from tests.api.client import ApiClient
from tests.api.expected import Expected

ROUTES = [
    Expected(operation="is_live", route="GET /health/live"),
    Expected(operation="is_ready", route="GET /health/ready"),
]


async def test_health_routes_are_public(api: ApiClient) -> None:
    for path in ("/health/live", "/health/ready"):
        answer = await api.client.get(path, headers={"Authorization": "Bearer x"})
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
