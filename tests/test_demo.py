"""What the demo says at its end. The whole demo is run and judged in test_packaging.py, from the wheel."""

from __future__ import annotations

from foreshock.cli.demo import gravest, next_steps


def test_where_to_look_next_names_the_gravest_alert() -> None:
    def alert(number: int, kind: str, topic: str, events: int, observed: float) -> dict[str, object]:
        return {
            "id": str(number),
            "kind": kind,
            "topic": topic,
            "events": events,
            "observed": observed,
            "baseline": 0.2,
        }

    few = alert(1, "negativity_spike", "few", 5, 0.9)
    many = alert(2, "negativity_spike", "many & co", 60, 0.6)
    market = alert(3, "negativity_spike", "_all", 900, 0.4)
    assert gravest([few, many, market]) is many
    assert gravest([]) is None
    silence = alert(4, "silence", "quiet", 0, 0.0)
    assert gravest([silence]) is silence
    clicks = next_steps(many, "sqlite:///d.db", "http://127.0.0.1:8501")
    assert len(clicks) == 3
    assert "/Alerts?alert=2" in clicks[0]
    assert "/Topic?topic=many%20%26%20co" in clicks[1]
    assert all("--store sqlite:///d.db" in line for line in next_steps(None, "sqlite:///d.db", None))
