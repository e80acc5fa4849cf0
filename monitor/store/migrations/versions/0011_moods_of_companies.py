"""Topics of a story have the mood towards a company, where it differs from that of the text; null elsewhere."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("negative", "neutral", "positive"):
        op.add_column("story_topics", sa.Column(name, sa.Integer(), nullable=True))
