"""Who hears of what, and when: see store/hearing.py, muted.py, escalations.py and digests.py."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    collation = "C" if op.get_bind().dialect.name == "postgresql" else None
    text = sa.Text(collation=collation)
    for name in ("route", "shown_as", "muted_by", "carried_by"):
        op.add_column("deliveries", sa.Column(name, text))
    op.create_table(
        "escalations",
        sa.Column("alert_id", text, primary_key=True),
        sa.Column("route", text, primary_key=True),
        sa.Column("receivers", text, nullable=False),
        sa.Column("state", text, nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("wait", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger()),
    )
    op.create_index("escalations_state", "escalations", ["state", "due_at"])
    op.create_table(
        "digests",
        sa.Column("id", text, primary_key=True),
        sa.Column("reason", text, nullable=False),
        sa.Column("name", text, nullable=False),
        sa.Column("begins_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("body", text),
    )
    op.create_index("digests_name", "digests", ["name", "due_at"])
