"""Before which times the rows of series are of hours, and of days: see store/rolling.py."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    collation = "C" if op.get_bind().dialect.name == "postgresql" else None
    op.create_table(
        "series_grain",
        sa.Column("grain", sa.Text(collation=collation), primary_key=True),
        sa.Column("until", sa.BigInteger(), nullable=False),
    )
