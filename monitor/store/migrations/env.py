"""Alembic's entry point. store/database.py passes an open connection, so a migration is one transaction."""

from alembic import context

from foreshock.monitor.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
