"""Facts and calls as styled text: shapes, words and colours of their moods.

Nothing is written as markup: names and addresses of others are in the text, and no escape is safe in all
places.
"""

from __future__ import annotations

from textual.content import Content

from sipmikey.phone import Fact, Mood, Phone, ShownCall, Stage
from sipmikey.phone.advice import advice_for, ended_text
from sipmikey.phone.conference import conference_note, shown_facts
from sipmikey.phone.palette import COLOURS
from sipmikey.phone.shown import call_title
from sipmikey.phone.text import Translate


def fact_content(fact: Fact, tr: Translate) -> Content:
    """Return a fact: shape, name, word in the colours of its mood, and the sentence."""
    word = f" {fact.shape} {fact.label.render(tr)}: {fact.word.render(tr)} "
    return Content.assemble(_coloured(word, fact.mood), f"\n  {fact.sentence.render(tr)}")


def call_content(call: ShownCall, phone: Phone, tr: Translate) -> Content:
    """Return all that is shown of a call in the middle of the screen."""
    lines = [Content.styled(call_title(call, phone, tr), "bold")]
    if call.warning is not None:
        lines.append(_coloured(f" ▲ {call.warning.render(tr)} ", Mood.BAD))
    lines += [fact_content(fact, tr) for fact in shown_facts(phone, call)]
    if (note := conference_note(phone, call)) is not None:
        lines.append(Content.styled(note.render(tr), "bold"))
    if call.stage is Stage.ENDED:
        lines.append(Content(ended_text(call.reason, call.side, call.detail).render(tr)))
        if (advice := advice_for(call.reason, call.side)) is not None:
            lines.append(Content(advice.render(tr)))
    return Content("\n").join(lines)


def _coloured(text: str, mood: Mood) -> Content:
    front, ground = COLOURS[mood]
    return Content.styled(text, f"bold {front} on {ground}")
