"""Incidents: which alerts a reader receives as one thing, how grave they are, and which of them another explains.

Alerts that fired before belong to no incident. When they end, their receivers are notified as before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    collation = "C" if op.get_bind().dialect.name == "postgresql" else None
    text = sa.Text(collation=collation)
    op.create_table(
        "incidents",
        sa.Column("id", text, primary_key=True),
        sa.Column("first_alert", text, nullable=False),
        sa.Column("state", text, nullable=False),
        sa.Column("direction", text, nullable=False),
        sa.Column("origin", text, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("fired_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("notified_at", sa.BigInteger, nullable=False),
        sa.Column("severity", text, nullable=False),
        sa.Column("lead", text, nullable=False),
        sa.Column("title", text, nullable=False),
        sa.Column("events", sa.Integer, nullable=False),
        sa.Column("sources", sa.Integer, nullable=False),
        sa.Column("peak_events", sa.Integer, nullable=False),
        sa.Column("peak_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("merged_into", text),
        sa.Column("messages", sa.Integer, nullable=False),
        sa.Column("held", text, nullable=False),
        sa.Column("settings", sa.Integer, nullable=False),
    )
    op.create_index("incidents_state", "incidents", ["state", "fired_at"])
    op.create_index("incidents_fired_at", "incidents", ["fired_at"])
    for name, kind in (
        *(("statistic", sa.Double()), ("threshold", sa.Double()), ("evidence_events", sa.Integer())),
        *(("inhibited_by", text), ("inhibited_because", text)),
    ):
        op.add_column("alerts", sa.Column(name, kind, nullable=True))
    op.create_index("alerts_group", "alerts", ["group_id"])
