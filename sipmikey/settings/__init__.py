"""Settings in TOML files: declared once, read with typed errors, merged, shown with where each came from.

A section is a frozen dataclass whose fields are made by `setting`. `merge` reads a file over the defaults,
variables over the file and options over both; `show` prints the result, `reference` what can be set.
"""

from sipmikey.settings.merge import MergedSettings, Name, merge, read_section
from sipmikey.settings.schema import Section, Setting, Value, setting, settings
from sipmikey.settings.show import MASK, as_document, as_toml, reference_table
from sipmikey.settings.toml import ConfigurationError, nearest, parse_toml, read_text, read_toml

__all__ = [
    "MASK",
    "ConfigurationError",
    "MergedSettings",
    "Name",
    "Section",
    "Setting",
    "Value",
    "as_document",
    "as_toml",
    "merge",
    "nearest",
    "parse_toml",
    "read_section",
    "read_text",
    "read_toml",
    "reference_table",
    "setting",
    "settings",
]
