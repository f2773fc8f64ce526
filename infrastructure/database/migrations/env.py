"""Runs migrations on the connection that `infrastructure.database.schema` opened."""

from alembic import context

from infrastructure.database import unit_of_work  # noqa: F401  registers every table
from infrastructure.database.driver.rows import Row

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Row.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
