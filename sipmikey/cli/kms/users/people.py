"""Users in a file: CSV as spreadsheets write it, or JSON; every mistake is found at once, with its line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sipmikey.kms.subscribers import SubscriberRecord, normal_identity
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.printable import printable

COLUMNS: Final = ("identity", "name", "groups", "psk_id", "valid_days", "sip_password")
"""What a user in a file may have; several identities and groups are separated by blanks."""

_DELIMITERS: Final = ",;\t"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user as a file has it. ``line``: where; ``record`` has no keys yet. ``valid_days``: of the key."""

    line: int
    record: SubscriberRecord
    psk_id: str = ""
    valid_days: float | None = None
    sip_password: Secret | None = None

    @property
    def identity(self) -> str:
        """The primary identity."""
        return self.record.identities[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong in a line. ``column`` is "" where that is the line as a whole."""

    line: int
    column: str
    detail: str

    def written(self, file: str) -> str:
        """Return the problem as a line of text that editors can jump to."""
        where = f"{self.column}: " if self.column else ""
        return f"{file}:{self.line}: {where}{self.detail}"


@dataclass(slots=True)
class People:
    """What was read: ``people`` without a mistake, and the ``problems`` of the others."""

    people: list[Person] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_people(text: str, *, as_json: bool) -> People:
    """Read the users of a file. Raises `LocalError` where it cannot be read at all."""
    found = People()
    rows = _json_rows(text, found) if as_json else _csv_rows(text, found)
    for line, row in rows:
        _read(line, row, found)
    _check_unique(found)
    found.problems.sort(key=lambda problem: problem.line)
    return found


def is_json(path: Path) -> bool:
    """Return whether a file is JSON by its name. Raises `LocalError` for a name that says neither."""
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".tsv", ".txt", ".json", ".jsonl"):
        raise LocalError(f"{path}: users come as .csv or .json")
    return suffix in (".json", ".jsonl")


def write_csv(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> str:
    """Return *rows* as CSV; nothing in it is a formula to a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])
    return out.getvalue()


def _cell(value: object) -> str:
    text = (
        " ".join(map(str, value)) if isinstance(value, list | tuple) else "" if value is None else str(value)
    )
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _csv_rows(text: str, found: People) -> Iterator[tuple[int, Mapping[str, Any]]]:
    first = text.lstrip("\ufeff").partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text.lstrip("\ufeff"), newline=""), delimiter=delimiter, strict=True)
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
        _check_header(header)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(header):
                detail = f"{len(cells)} cells, and {len(header)} columns"
                found.problems.append(Problem(line=reader.line_num, column="", detail=detail))
                continue
            yield reader.line_num, {name: cell.strip() for name, cell in zip(header, cells, strict=False)}
    except csv.Error as error:
        found.problems.append(Problem(line=reader.line_num, column="", detail=f"not CSV: {error}"))


def _check_header(header: Sequence[str]) -> None:
    if "identity" not in header:
        raise LocalError(f"the first line names the columns, identity among them: {', '.join(COLUMNS)}")
    for name in header:
        if name not in COLUMNS:
            raise LocalError(f"unknown column {printable(name)!r}; there are {', '.join(COLUMNS)}")
    if len(set(header)) < len(header):
        raise LocalError("a column is there twice")


def _json_rows(text: str, found: People) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the objects of a JSON array, or of JSON lines, each with the line it begins in."""
    decoder = json.JSONDecoder()
    text = text.lstrip("\ufeff")
    place = 0
    while True:
        while place < len(text) and text[place] in " \t\r\n,[]":
            place += 1
        if place == len(text):
            return
        line = text.count("\n", 0, place) + 1
        try:
            value, place = decoder.raw_decode(text, place)
        except (json.JSONDecodeError, RecursionError) as error:
            where = text.count("\n", 0, error.pos) + 1 if isinstance(error, json.JSONDecodeError) else line
            found.problems.append(Problem(line=where, column="", detail="not JSON from here on"))
            return
        if isinstance(value, dict):
            yield line, value
        else:
            found.problems.append(Problem(line=line, column="", detail="a user is a JSON object"))


def _read(line: int, row: Mapping[str, Any], found: People) -> None:
    """Add the user in *row*, or all that is wrong with it."""
    problems: list[Problem] = []

    def value(column: str, read: Callable[[Any], Any], default: Any) -> Any:
        given = row.get(column)
        if given in (None, "", []):
            return default
        try:
            return read(given)
        except (LocalError, ValueError, TypeError) as error:
            problems.append(Problem(line=line, column=column, detail=str(error)))
            return default

    for column in row:
        if column not in COLUMNS:
            detail = f"unknown; there are {', '.join(COLUMNS)}"
            problems.append(Problem(line=line, column=printable(column), detail=detail))
    identities = value("identity", _identities, ())
    if not identities and not any(problem.column == "identity" for problem in problems):
        problems.append(Problem(line=line, column="identity", detail="it is missing"))
    groups = value("groups", _identities, ())
    name = value("name", _text, "") or (identities[0] if identities else "")
    psk_id = value("psk_id", _psk_id, "")
    valid_days = value("valid_days", _days, None)
    password = value("sip_password", _text, "")
    if not problems:
        try:
            record = SubscriberRecord(name=name, identities=identities, groups=groups)
        except LocalError as error:
            problems.append(Problem(line=line, column="", detail=str(error)))
        else:
            secret = Secret(password.encode()) if password else None
            found.people.append(
                Person(line=line, record=record, psk_id=psk_id, valid_days=valid_days, sip_password=secret)
            )
    found.problems += problems


def _check_unique(found: People) -> None:
    """Move people who share a name, an identity or a key's name with an earlier one to the problems."""
    seen: dict[tuple[str, str], int] = {}
    unique: list[Person] = []
    for person in found.people:
        marks = [("name", person.record.name), *(("identity", uri) for uri in person.record.identities)]
        if person.psk_id:
            marks.append(("psk_id", person.psk_id))
        clash = next((mark for mark in marks if mark in seen), None)
        if clash is None:
            unique.append(person)
            seen.update(dict.fromkeys(marks, person.line))
            continue
        detail = f"{printable(clash[1])} is in line {seen[clash]} already"
        found.problems.append(Problem(line=person.line, column=clash[0], detail=detail))
    found.people = unique


def _identities(value: object) -> tuple[str, ...]:
    texts = value.split() if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise LocalError("a text, or a list of texts")
    return tuple(dict.fromkeys(map(normal_identity, texts)))


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise LocalError("a text without control characters is needed")
    return value


def _psk_id(value: object) -> str:
    text = _text(value)
    if len(text.encode()) > 255:
        raise LocalError("255 octets at most")
    return text


def _days(value: object) -> float:
    days = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else 0.0
    if not 0 < days <= 36_500:
        raise LocalError("a number of days above 0 is needed")
    return days
