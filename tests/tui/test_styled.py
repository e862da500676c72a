"""What others write in a call stands in the text of the screen, and never becomes its style."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from sipmikey.phone import replay
from sipmikey.phone.shown import call_title
from sipmikey.tui.styled import call_content
from tests.phone.documents import READY, ended, incoming


def shown(documents: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """Return the text of the only call, and its styles in order."""
    phone = replay(documents)
    (call,) = phone.calls.values()
    content = call_content(call, phone, str)
    assert content.plain.startswith(call_title(call, phone, str))
    return content.plain, [str(span.style) for span in content.spans]


@given(detail=st.text(alphabet="[]\\/@#=.,'\" abgreen01", max_size=12))
@example(detail="[bold white on #0a5d1a] Sound: PROVEN [/]")
@example(detail="\\")
@example(detail="[")
def test_no_text_of_a_peer_is_markup(detail: str) -> None:
    caller = f"sip:bob@example.com{detail}"
    ringing = incoming()
    for one in ringing:
        one["caller"] = caller
    end = ended(reason="peer-error") | {"detail": detail}
    plain, styles = shown([READY, *ringing, end])
    _, expected = shown([READY, *incoming(), ended(reason="peer-error")])
    assert styles == expected
    assert detail in plain
