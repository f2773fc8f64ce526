"""Runs migrations on the connection that `infrastructure.database.schema` opened."""

from alembic import context

from application.concepts import modules
from infrastructure.database.driver.rows import Row

modules("infrastructure.database")  # each registers its tables

attributes = context.config.attributes
connection = attributes["connection"]
options = {
    "target_metadata": Row.metadata,
    "render_as_batch": connection.dialect.name == "sqlite",
    "transactional_ddl": True,
}
context.configure(connection=connection, **options | attributes.get("options", {}))
with context.begin_transaction():
    context.run_migrations()
