"""Stories say how grave their bad news is, in hundredths from 0 to 300; null where no model said it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("stories", sa.Column("severity", sa.Integer(), nullable=True))
