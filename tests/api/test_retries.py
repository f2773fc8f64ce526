"""Serialization failures as clients see them."""

import asyncpg
import pytest

from infrastructure.database.driver.retries import PAUSES
from tests.api.client import ApiClient, problem_of

REFUSE = """
CREATE SEQUENCE refusals;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('refusals') <= {times} THEN
        RAISE EXCEPTION 'refused' USING ERRCODE = '40001';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER refuse AFTER INSERT ON posts EXECUTE FUNCTION refuse();
"""
POST = {"title": "Hello", "content": "First post."}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "1"}])
async def test_a_client_sees_only_the_last_of_several_failures(
    api: ApiClient, database_url: str, key: dict[str, str]
) -> None:
    anna = await api.person()
    headers = anna.headers | key
    attempts = 1 + len(PAUSES)
    connection = await asyncpg.connect(database_url)
    await connection.execute(REFUSE.format(times=attempts))
    await connection.close()

    refused = await api.client.post("/posts", json=POST, headers=headers)
    written = await api.client.post("/posts", json=POST, headers=headers)

    problem_of(refused, 503, "serialization_failure")
    assert refused.headers["Retry-After"] == "1"
    assert written.status_code == 201
    assert "Idempotency-Replayed" not in written.headers
    posts = await api.client.get("/posts", headers=anna.headers)
    assert posts.json() == [written.json()]
