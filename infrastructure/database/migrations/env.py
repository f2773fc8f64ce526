"""Runs migrations on the connection that `infrastructure.database.schema` opened."""

from alembic import context

from application.concepts import modules
from infrastructure.database.driver.rows import Row

modules("infrastructure.database")  # each registers its tables

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Row.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
