"""Ladder diagrams."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sipmikey.phone.ladder.events import steps
from sipmikey.phone.ladder.picture import Step, render

STEPS = [
    Step(time=5.0, source="alice", target="kms", text="POST ticketrequest [REQUEST_INIT_PSK]"),
    Step(time=5.1, source="kms", target="alice", text="200 [REQUEST_RESP]"),
    Step(time=5.2, source="alice", target="bob", text="INVITE [TRANSFER_INIT]"),
    Step(time=5.25, source="bob", target="bob", text="policy accepted"),
]


def test_lanes_arrows_and_times():
    lines = render(STEPS, lanes=["alice", "bob", "kms"]).splitlines()
    assert lines[0].split() == ["alice", "bob", "kms"]
    assert "POST ticketrequest [REQUEST_INIT_PSK]" in lines[1]
    assert lines[2].split()[0] == "0.000"
    assert ">" in lines[2]
    assert "<" not in lines[2]
    assert lines[4].split()[0] == "0.100"
    assert "<" in lines[4]
    columns = [lines[0].index(name) + len(name) // 2 for name in ("alice", "bob", "kms")]
    assert all(lines[1][column] == "|" for column in (columns[0], columns[2]))
    # From alice to bob the arrow ends before the third lane.
    assert lines[6][columns[2]] == "|"
    assert lines[7].endswith("policy accepted")


def test_a_redirection_is_an_arrow_between_two_invites():
    events = [
        {"type": "call.out", "uri": "sip:bob@example.com"},
        {"type": "call.redirected", "status": 302, "target": "sip:carol@example.com"},
        {"type": "call.out", "uri": "sip:carol@example.com"},
    ]
    stamped = [{**event, "ts": "2024-01-01T00:00:00+00:00"} for event in events]  # type: ignore[dict-item]
    drawn = [(step.source, step.target, step.text) for step in steps(stamped, us="us", peer="them")]
    redirected = ("them", "us", "302, now sip:carol@example.com")
    assert drawn == [("us", "them", "INVITE"), redirected, ("us", "them", "INVITE")]


def test_lanes_in_order_of_appearance():
    assert render(STEPS).splitlines()[0].split() == ["alice", "kms", "bob"]


def test_nothing_to_draw():
    assert render([]) == ""


def test_long_texts_are_cut_to_the_width():
    drawing = render([Step(time=0, source="a", target="b", text="x" * 500)], width=60)
    assert "…" in drawing
    assert max(map(len, drawing.splitlines())) <= 60


def test_control_characters_do_not_reach_the_terminal():
    step = Step(time=0, source="a\x1b[2J", target="b", text="\x1b]0;title\x07")
    assert "\x1b" not in render([step])


@given(
    st.lists(
        st.builds(
            Step,
            time=st.floats(0, 1e6),
            source=st.text(max_size=8),
            target=st.text(max_size=8),
            text=st.text(max_size=60),
        ),
        max_size=8,
    )
)
def test_any_steps_are_drawn(steps):
    drawing = render(steps)
    assert drawing.count("\n") <= 2 * len(steps)
    for line in drawing.split("\n"):
        assert line.isprintable()
