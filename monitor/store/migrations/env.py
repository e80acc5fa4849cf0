"""alembic's entry: the caller (store/database.py) hands over an open connection, so a migration is one transaction."""

from alembic import context

from foreshock.monitor.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
