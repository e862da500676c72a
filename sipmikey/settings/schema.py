"""The declaration of settings: frozen dataclasses whose fields describe and check themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from sipmikey.mikey.secret import Secret

Value = str | int | float | bool | Path | Secret | tuple[str, ...] | Mapping[str, str] | None

Section = type[Any]
"""A frozen dataclass, every field of which was made by `setting`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One thing that can be configured.

    ``read`` turns the TOML value or the text of an option or variable into the field's value and raises
    ValueError with the reason. ``words`` are the only values, if these are few. ``option`` is the
    command-line option, if there is one, with ``metavar`` for its value. The value of a ``secret`` is never
    shown. ``required`` settings have no default.
    """

    help: str
    read: Callable[[object], Value]
    words: tuple[str, ...] = ()
    option: str | None = None
    metavar: str | None = None
    secret: bool = False
    required: bool = False


def setting(default: Value, help: str, read: Callable[[object], Value], **more: Any) -> Any:
    """Declare a field of a section: its *default* and the `Setting` that describes it."""
    described = Setting(help=help, read=read, **more)
    metadata = {"setting": described}
    if described.required:
        return field(metadata=metadata)
    if isinstance(default, Mapping):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


def section_settings(section: Section) -> Iterator[tuple[str, Setting, Value]]:
    """Yield (key, setting, default) of one section, in order; the default of a required one is None."""
    for entry in fields(section):
        default = entry.default if entry.default_factory is MISSING else entry.default_factory()
        yield entry.name, entry.metadata["setting"], None if default is MISSING else default


def settings(sections: Mapping[str, Section]) -> Iterator[tuple[str, str, Setting, Value]]:
    """Yield (section, key, setting, default) of everything in *sections*, in order."""
    for name, section in sections.items():
        for key, described, default in section_settings(section):
            yield name, key, described, default
