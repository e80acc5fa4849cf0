"""What is known of a receiver that fails: see store/receivers.py."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    collation = "C" if op.get_bind().dialect.name == "postgresql" else None
    text = sa.Text(collation=collation)
    op.create_table(
        "receivers",
        sa.Column("receiver", text, primary_key=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("down_since", sa.BigInteger(), nullable=False),
        sa.Column("held_until", sa.BigInteger()),
        sa.Column("last_error", text, nullable=False),
    )
