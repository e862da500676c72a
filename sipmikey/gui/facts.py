"""The three facts of a call as widgets: shape, word and sentence, in the colours of their moods."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QLabel, QSizePolicy, QVBoxLayout, QWidget

from sipmikey.phone import Fact, Mood, Text
from sipmikey.phone.palette import COLOURS
from sipmikey.phone.text import Translate


class FactLabel(QFrame):
    """One fact. Its accessible name is its label, its description the word and the sentence."""

    def __init__(self, tr: Translate) -> None:
        super().__init__()
        self._tr = tr
        self.mood = Mood.OPEN
        self.word = QLabel()
        self.word.setTextFormat(Qt.TextFormat.PlainText)
        self.word.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.sentence = QLabel()
        self.sentence.setTextFormat(Qt.TextFormat.PlainText)
        self.sentence.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(2)
        layout.addWidget(self.word)
        layout.addWidget(self.sentence)

    def show_fact(self, fact: Fact) -> None:
        """Show *fact*."""
        self.mood = fact.mood
        label, word = fact.label.render(self._tr), fact.word.render(self._tr)
        sentence = fact.sentence.render(self._tr)
        self.word.setText(f"{fact.shape}  {label}: {word}")
        self.sentence.setText(sentence)
        text, ground = COLOURS[fact.mood]
        self.word.setStyleSheet(
            f"color: {text}; background: {ground}; font-weight: bold; padding: 5px 8px; border-radius: 3px;"
        )
        self.setAccessibleName(label)
        self.setAccessibleDescription(f"{word}. {sentence}")


class FactsPanel(QWidget):
    """The three facts, one below the other, and a warning above them where there is one."""

    def __init__(self, tr: Translate) -> None:
        super().__init__()
        self._tr = tr
        self.labels = (FactLabel(tr), FactLabel(tr), FactLabel(tr))
        self.warning = QLabel()
        self.warning.setTextFormat(Qt.TextFormat.PlainText)
        self.warning.setWordWrap(True)
        text, ground = COLOURS[Mood.BAD]
        self.warning.setStyleSheet(f"color: {text}; background: {ground}; font-weight: bold; padding: 6px;")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.warning)
        for label in self.labels:
            layout.addWidget(label)

    def show_facts(self, facts: tuple[Fact, ...], warning: Text | None) -> None:
        """Show *facts* and *warning*."""
        for label, fact in zip(self.labels, facts, strict=True):
            label.show_fact(fact)
        said = "" if warning is None else f"▲  {warning.render(self._tr)}"
        self.warning.setText(said)
        self.warning.setAccessibleName(said)
        self.warning.setVisible(warning is not None)
