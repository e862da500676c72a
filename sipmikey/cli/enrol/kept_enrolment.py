"""What a device keeps of its enrolment: settings in its configuration, files, and the profile as it was.

The configuration is the user's file: a setting that the user changed stays, also when the profile changes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import tomlkit
from tomlkit.exceptions import TOMLKitError

from sipmikey.kms.enrolment.profile import Profile
from sipmikey.mikey.errors import LocalError
from sipmikey.sealed.vault import data_folder
from sipmikey.whole_file import write_whole

FOLDER: Final = "enrolment"
DAY_S: Final = 86_400
AGAIN_S: Final = 900
"""Seconds until a KMS that did not answer is asked again."""

Settings = Mapping[tuple[str, str], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptEnrolment:
    """What is known of a device's enrolment. Times: Unix seconds.

    ``profile``: as it was taken last. ``issued_s``, ``valid_until_s``: life of the present key.
    ``checked_s``: when the KMS answered last; ``tried_s``: when it was asked last.
    """

    device: str
    profile: Profile = field(default_factory=Profile)
    issued_s: int = 0
    valid_until_s: int = 0
    checked_s: int = 0
    tried_s: int = 0

    @property
    def folder(self) -> Path:
        """Where the files of the profile are."""
        return folder_of(self.device)

    @property
    def file(self) -> Path:
        """Where this is kept."""
        return self.folder.with_name(f"{self.folder.name}.json")

    def due(self, now_s: int) -> bool:
        """Return whether to ask the KMS: once a day, and for a new key in the last third of the old one."""
        if now_s < self.tried_s + AGAIN_S and now_s >= self.tried_s:
            return False
        return now_s >= self.checked_s + DAY_S or now_s < self.checked_s or self.renewal_due(now_s)

    def renewal_due(self, now_s: int) -> bool:
        """Return whether the last third of the key's life has begun."""
        return now_s >= self.valid_until_s - (self.valid_until_s - self.issued_s) / 3

    def write(self) -> None:
        """Keep this in the folder of the person's data, readable by its owner only."""
        document = {
            "profile": self.profile.document(), "issued_s": self.issued_s,
            "valid_until_s": self.valid_until_s, "checked_s": self.checked_s, "tried_s": self.tried_s,
        }  # fmt: skip
        write_whole(self.file, json.dumps(document, indent=1) + "\n")

    @classmethod
    def read(cls, device: str) -> KeptEnrolment:
        """Return what is kept of *device*; nothing is known where there is no file or it is damaged."""
        kept = cls(device=device)
        try:
            found = json.loads(kept.file.read_text(encoding="utf-8"))
            return replace(
                kept,
                profile=Profile.of(found["profile"]),
                issued_s=int(found["issued_s"]),
                valid_until_s=int(found["valid_until_s"]),
                checked_s=int(found["checked_s"]),
                tried_s=int(found["tried_s"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return kept


def folder_of(device: str) -> Path:
    """Return the folder of a device's files; its name has nothing in it that a path could be made of."""
    name = "".join(symbol if symbol.isalnum() or symbol in "-_." else "_" for symbol in device).strip(".")
    return data_folder() / FOLDER / (name or "_")


def applied(
    document: tomlkit.TOMLDocument, old: Profile, new: Profile, folder: Path, *, named: Path | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Change *document* from the *old* profile to the *new*; write its files into *folder*.

    *named*: the folder as the document names it, where that is shorter. Returns the settings that were
    changed, and those that the user had changed and that stay.
    """
    before, after = (_flat(profile, folder if named is None else named) for profile in (old, new))
    changed: list[str] = []
    stay: list[str] = []
    for name, text in new.files.items():
        write_whole(folder / name, text)
    for section, key in dict.fromkeys((*after, *before)):
        was, now = before.get((section, key)), after.get((section, key))
        has = _plain(document.get(section, {}).get(key))
        if was == now or has == now:
            continue
        if has is not None and has != was:
            stay.append(f"{section}.{key}")
            continue
        changed.append(f"{section}.{key}")
        if now is None:
            del document[section][key]
        else:
            put(document, section, key, now)
    changed += [name for name, text in new.files.items() if name in old.files and old.files[name] != text]
    return tuple(changed), tuple(stay)


def put(document: tomlkit.TOMLDocument, section: str, key: str, value: Any) -> None:
    """Set ``section.key`` of *document*."""
    if section not in document:
        document[section] = tomlkit.table()
    document[section][key] = value


def read_document(path: Path) -> tomlkit.TOMLDocument:
    """Return the configuration at *path*, to be changed. Raises `LocalError`."""
    try:
        return tomlkit.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LocalError(f"{path}: {error.strerror}") from None
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise LocalError(f"{path}: {error}") from None


def _flat(profile: Profile, folder: Path) -> dict[tuple[str, str], Any]:
    found = {
        (section, key): value for section, values in profile.settings.items() for key, value in values.items()
    }
    for name in profile.files:
        section, _, key = name.partition(".")
        found[section, key] = str(folder / name)
    return found


def _plain(value: Any) -> Any:
    """Return a value of tomlkit as Python's own."""
    return value.unwrap() if hasattr(value, "unwrap") else value
