"""Facts and calls as Textual markup: shapes, words and colours of their moods."""

from __future__ import annotations

from rich.markup import escape

from sipmikey.phone import Fact, Mood, Phone, ShownCall, Stage
from sipmikey.phone.advice import advice_for, ended_text
from sipmikey.phone.conference import conference_note, shown_facts
from sipmikey.phone.palette import COLOURS
from sipmikey.phone.shown import call_title
from sipmikey.phone.text import Translate


def fact_markup(fact: Fact, tr: Translate) -> str:
    """Return a fact as markup: shape, name, word in the colours of its mood, and the sentence."""
    text, ground = COLOURS[fact.mood]
    word = escape(f" {fact.shape} {fact.label.render(tr)}: {fact.word.render(tr)} ")
    return f"[bold {text} on {ground}]{word}[/]\n  {escape(fact.sentence.render(tr))}"


def call_markup(call: ShownCall, phone: Phone, tr: Translate) -> str:
    """Return all that is shown of a call in the middle of the screen."""
    lines = [f"[bold]{escape(call_title(call, phone, tr))}[/]"]
    if call.warning is not None:
        text, ground = COLOURS[Mood.BAD]
        lines.append(f"[bold {text} on {ground}] ▲ {escape(call.warning.render(tr))} [/]")
    lines += [fact_markup(fact, tr) for fact in shown_facts(phone, call)]
    if (note := conference_note(phone, call)) is not None:
        lines.append(f"[bold]{escape(note.render(tr))}[/]")
    if call.stage is Stage.ENDED:
        lines.append(escape(ended_text(call.reason, call.side, call.detail).render(tr)))
        if (advice := advice_for(call.reason, call.side)) is not None:
            lines.append(escape(advice.render(tr)))
    return "\n".join(lines)
