"""An instance of the release before, while the schema is that of the next one already."""

import pytest
from sqlalchemy import Connection, text

from infrastructure.database import schema
from infrastructure.database.driver.rows import Row
from tests.journeys.everyday import everyday
from tests.journeys.processes import Place, on_both_databases


@on_both_databases
def test_a_schema_newer_than_the_code_is_served(place: Place) -> None:
    schema.migrate(place.database_url)

    def expand(connection: Connection) -> None:
        for table in Row.metadata.tables:
            connection.execute(text(f"ALTER TABLE {table} ADD COLUMN newer_a INTEGER"))
            connection.execute(
                text(f"ALTER TABLE {table} ADD COLUMN newer_b INTEGER NOT NULL DEFAULT 0")
            )
        connection.execute(text("CREATE TABLE newer (id INTEGER)"))
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    schema.run(place.database_url, expand)

    assert place.run("migrate").stdout.startswith("The schema is at revision 9999, newer ")
    with place.serving() as service, service.client() as client:
        everyday(client, "anna@example.com")


@on_both_databases
def test_a_database_that_another_application_migrated_is_refused(place: Place) -> None:
    schema.migrate(place.database_url)

    def migrate(connection: Connection) -> None:
        connection.execute(text("UPDATE alembic_version SET version_num = 'a1b2c3d4e5f6'"))

    schema.run(place.database_url, migrate)

    for command in (["serve", "--port", "0"], ["migrate"]):
        assert place.refusal(*command).startswith("alembic_version is at a1b2c3d4e5f6, which is")
    assert "error: migrations: alembic_version is at a1b2" in place.run("check").stdout


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_an_older_schema_is_not_served(place: Place) -> None:
    schema.migrate(place.database_url, "-1")

    assert "`gatepost migrate`" in place.refusal("serve", "--port", "0")
