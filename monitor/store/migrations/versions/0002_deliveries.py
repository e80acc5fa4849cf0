"""Deliveries, what the desk does, and the alert as it was told: see store/schema.py."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

String = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("outbox", sa.Column("alert", String, nullable=True))
    # Rows from before say nothing of the alert as it was then; none of them was ever meant to be sent.
    op.execute("UPDATE outbox SET state = 'withheld'")
    op.create_table(
        "deliveries",
        sa.Column("alert_id", String, nullable=False),
        sa.Column("event", String, nullable=False),
        sa.Column("receiver", String, nullable=False),
        sa.Column("state", String, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.BigInteger(), nullable=True),
        sa.Column("tried_at", sa.BigInteger(), nullable=True),
        sa.Column("delivered_at", sa.BigInteger(), nullable=True),
        sa.Column("last_error", String, nullable=True),
        sa.PrimaryKeyConstraint("alert_id", "event", "receiver"),
    )
    op.create_index("deliveries_state", "deliveries", ["state", "receiver", "next_attempt_at"], unique=False)
    op.create_table(
        "desk_actions",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("action", String, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("by", String, nullable=False),
        sa.Column("note", String, nullable=False),
        sa.Column("alert_id", String, nullable=True),
        sa.Column("topic", String, nullable=True),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("desk_actions_alert", "desk_actions", ["alert_id"], unique=False)
    op.create_index("desk_actions_topic", "desk_actions", ["topic", "number"], unique=False)
