"""The service behind a pgbouncer that gives each transaction any connection that is free."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.journeys.everyday import everyday
from tests.journeys.processes import Place
from tests.pgbouncer import running_pgbouncer


@pytest.mark.slow
def test_fifty_clients_share_five_connections(place: Place, empty_postgres_url: str) -> None:
    with running_pgbouncer(empty_postgres_url, pool=5) as url:
        place.database_url = f"{url}?statement_cache_size=0"
        for _ in range(2):
            migrated = place.run("migrate")
            assert (migrated.status, migrated.stderr) == (0, "")
        emails = [f"anna{number}@example.com" for number in range(50)]
        with place.serving("--workers", "2") as service, service.client() as client:
            clients = ThreadPoolExecutor(len(emails))
            for done in [clients.submit(everyday, client, email) for email in emails]:
                done.result()
