"""The language of the person: gettext catalogues in `sipmikey/locale`."""

from __future__ import annotations

import gettext
from collections.abc import Sequence
from pathlib import Path

from sipmikey.phone.text import Translate

LOCALE = Path(__file__).parents[2] / "locale"


def translation(languages: Sequence[str] | None = None) -> Translate:
    """Return the translation into the first of *languages* there is, by default those of the environment."""
    found = gettext.translation("sipmikey", LOCALE, languages=languages, fallback=True)
    return found.gettext
