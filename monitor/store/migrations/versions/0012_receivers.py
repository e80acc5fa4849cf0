"""What is known of a receiver that fails: see store/receivers.py."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "receivers",
        sa.Column("receiver", sa.Text(), primary_key=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("down_since", sa.BigInteger(), nullable=False),
        sa.Column("held_until", sa.BigInteger()),
        sa.Column("last_error", sa.Text(), nullable=False),
    )
