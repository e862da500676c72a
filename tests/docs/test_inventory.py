"""Every block of every page is tried, or is in the short list of what is shown only."""

from __future__ import annotations

import ast
import builtins
import importlib
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipmikey.cli.config.schema import SECTIONS as AGENT
from sipmikey.cli.kms.configuration import SECTIONS as KMS
from sipmikey.cli.kms.configuration import PeerSection, take_inner_sections
from sipmikey.cli.mailbox.configuration import SECTIONS as MAILBOX
from sipmikey.cli.main import parsed
from sipmikey.kms.policy.file import parse_policy
from sipmikey.settings.schema import section_settings
from tests.docs.pages import ROOT, Block, blocks

CARRIED_OUT = {
    "docs/tutorials/": "tests/docs/test_tutorials.py",
    "docs/kms/deployment.md": "tests/kms/http/test_deployment_guide.py",
    "docs/rfc/ladders.md": "tests/interop/modes",
}
"""Pages whose blocks are carried out, or made again, by a test of their own."""

SHOWN = {
    "3.434 s  alice  REQUEST_INIT": "what the demo printed once: times and keys differ",
    "call PROVEN | signalling": "what a call prints: tests/cli/test_narrate.py holds the words",
    "ticket: match identities": "a commit message",
    "alice                         KMS": "a diagram",
    "bob                          alice, the chair": "a diagram",
    "[Unit]": "a unit of systemd, which needs systemd",
    "POST /keymanagement": "a message: tests/kms/http sends it",
    "policy policy.toml: rule 2": "what an error says: tests/kms/policy holds it",
    "identity,name,groups": "a table of people: tests/kms reads such tables",
    "alice: no call.answered": "what a failed test says: tests/testing/test_kit.py holds it",
    "SIP message refused": "what an error says",
    "http://127.0.0.1:8080/request-resp": "addresses: tests/conformance/test_command.py asks them",
    "# keys shared with the KMS": "a key file: tests/wireshark/test_carriers.py writes one",
    "[security.contacts]": "tables of the configuration with names of one's own",
    "[pytest]": "settings of pytest: tests/testing reads them",
    '["sip:alice@example.net"]': "users of a KMS of one's own: tests/testing/test_kit.py reads such a file",
    "@native": "the head of a function: tests/native",
    "Alice  ": "a diagram",
    "make native ": "takes minutes and cargo: make test-native does it",
    "--kms-cert kms.pem": "more options of the command above: tests/conformance/test_command.py gives them",
}
"""First words of a block -> why it is shown and not tried."""

OWN_NAMES = {
    "docs/embedding.md": {
        "ALICE", "BOB", "KMS", "key", "key_id", "credential", "grant", "carry_out", "ask_the_kms", "my_sdp",
        "sdp_as_sent", "to_tag", "answer_sdp", "invite_sdp", "caller", "replay_cache", "reinvite_sdp",
        "respond",
    },
    "docs/groups.md": {"alice", "bob"},
    "docs/media.md": {
        "media", "rtp_packet", "address", "keyed", "play", "record", "AgentConfig",
        "Audio", "KeyManagement",
    },
    "docs/kms/http.md": {"request"},
    "docs/tests/interop.md": {
        "Agent", "Capture", "Kamailio", "Kms", "Path", "settings", "referee",
    },
}  # fmt: skip
"""Names that a snippet takes from the reader's program, by page."""

SYSTEM = {
    "apt-get", "cd", "chmod", "cp", "curl", "git", "helm", "kill", "kubectl", "openssl", "pip-audit",
    "podman", "python3", "python3.11", "redis-cli", "sudo", "tshark", "vault", "wireshark", ".",
}  # fmt: skip
"""Commands of others that pages name."""

FILES = {".venv/.installed", "build/shipped"}
"""Files that the Makefile makes and pages ask for."""

ALL = list(blocks())


def test_the_pages_have_blocks() -> None:
    assert len(ALL) > 150
    assert {block.page for block in ALL} >= {"README.md", "CONTRIBUTING.md", "docs/embedding.md"}


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.where)
def test_a_block_is_tried_or_known(block: Block) -> None:
    if any(block.page.startswith(page) for page in CARRIED_OUT):
        return
    if any(block.first.startswith(words) for words in SHOWN):
        return
    if block.language == "python":
        _check_python(block)
    elif block.language == "toml" or (not block.language and block.first.startswith("[")):
        _check_toml(block)
    elif not block.language and block.first.startswith("import "):
        _check_python(block)
    else:
        _check_commands(block)


def test_what_is_shown_only_is_still_there() -> None:
    for words in SHOWN:
        assert any(block.first.startswith(words) for block in ALL), f"no block begins with {words!r}"
    for path in CARRIED_OUT.values():
        assert (ROOT / path).exists()


# Commands


def _check_commands(block: Block) -> None:
    lines = block.commands()
    printed = block.language == "console" or block.text.startswith("$ ")
    for number, line in enumerate(lines[:1] if printed else lines):
        words = _words(line)
        if not words or not re.fullmatch(r"[\w.:/=*'\"-]+", words[0]):
            raise AssertionError(f"{block.where}: what is {line!r}?")
        if number and _is_output(block, line):
            break
        _check_command(block, words)


def _words(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]  # variables before a command
    for stop in (">", "2>", "|", "&"):
        words = words[: words.index(stop)] if stop in words else words
    return words


def _is_output(block: Block, line: str) -> bool:
    """Return whether a blank line came before: what follows is what the command prints."""
    text = re.sub(r"\\\n\s*", " ", block.text)
    first = line.split("  ")[0]
    return f"\n\n{first}" in text.replace("\n\n    ", "\n\n") and not first.startswith(
        ("sipmikey", "pytest", "make", "pip")
    )


def _check_command(block: Block, words: list[str]) -> None:
    name, rest = words[0].rpartition("/")[2], words[1:]
    if name == "sudo":
        _check_command(block, rest)
    elif name == "sipmikey":
        assert _accepted(rest), f"{block.where}: `{shlex.join(words)}` is not accepted"
    elif name == "make":
        targets = re.findall(r"(?m)^([\w-]+|\$\(STAMP\)):", (ROOT / "Makefile").read_text())
        for target in (word for word in rest if "=" not in word):
            assert target in targets or target in FILES, f"{block.where}: make {target}?"
    elif name == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        for word in re.findall(r"\[(.*?)\]", " ".join(rest)):
            assert set(word.split(",")) <= set(extras), f"{block.where}: extra {word}?"
    elif name == "pytest":
        _check_pytest(block, rest)
    elif name == "python":
        target = f"{rest[1].replace('.', '/')}" if rest[0] == "-m" else rest[0]
        assert any((ROOT / each).exists() for each in (target, f"{target}.py")), f"{block.where}: {target}?"
    else:
        assert name in SYSTEM, f"{block.where}: is {name} a command?"
    for word in rest:
        path = word.partition("::")[0].removeprefix("lua_script:").rstrip("*/")
        if path.startswith(("contrib/", "examples/", "tests/", "benchmarks/")):
            assert list(ROOT.glob(f"{path}*")), f"{block.where}: there is no {path}"


def _accepted(words: list[str]) -> bool:
    """Return whether `sipmikey` takes these words; none of it is carried out."""
    try:
        parsed(words)
    except SystemExit as stop:
        return stop.code == 0
    return True


def _check_pytest(block: Block, words: list[str]) -> None:
    plugin = (ROOT / "sipmikey" / "testing" / "plugin.py").read_text()
    for word in words:
        if word.startswith(("--call", "--shared")):
            assert f'"{word.partition("=")[0]}"' in plugin, f"{block.where}: pytest {word}?"
    for word in words:
        path, _, name = word.partition("::")
        if name:
            assert f"def {name.rpartition('::')[2]}(" in (ROOT / path).read_text(), f"{block.where}: {word}?"


# Configuration


def _check_toml(block: Block) -> None:
    document = tomllib.loads(block.text)
    if "rule" in document or "limits" in document:
        limits = "" if "limits" in document else "\n[limits.staff]\nsuites = ['256']\n"
        parse_policy(f"{block.text}{limits}\n{'' if 'rule' in document else _RULE}")
        return
    take_inner_sections(document)
    for section, table in document.items():
        known = [
            {key for key, *_ in section_settings(kinds[section])}
            for kinds in (AGENT, KMS, MAILBOX)
            if section in kinds
        ]
        if section == "peers":
            known = [{key for key, *_ in section_settings(PeerSection)}]
            table = next(iter(table.values()))
        assert known, f"{block.where}: no configuration has a section [{section}]"
        assert any(set(table) <= keys for keys in known), f"{block.where}: [{section}] {sorted(table)}?"


_RULE = '[[rule]]\nname = "all"\nfrom = ["*"]\nto = ["*"]\ndecision = "allow"\nlimits = "staff"\n'


# Python


def _check_python(block: Block) -> None:
    tree = ast.parse(block.text, type_comments=False)
    given = OWN_NAMES.get(block.page, set()) | _defined_before(block)
    missing = {name for name in _used(tree) if name not in given and not hasattr(builtins, name)}
    assert not missing, f"{block.where}: {sorted(missing)} come from nowhere"
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sipmikey"):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                assert hasattr(module, alias.name) or importlib.util.find_spec(name), (
                    f"{block.where}: {name}?"
                )


def _used(tree: ast.Module) -> Iterator[str]:
    """Yield the names that are read and that nothing in *tree* gives."""
    given = _given(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in given:
            yield node.id


def _given(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found.add(node.name)
    return found


def _defined_before(block: Block) -> set[str]:
    """Return the names that earlier snippets of the page give."""
    found: set[str] = set()
    for other in ALL:
        if other.page == block.page and other.line < block.line and other.language == "python":
            found |= _given(ast.parse(other.text))
    return found


def test_the_names_of_the_reader_are_needed() -> None:
    for page, names in OWN_NAMES.items():
        text = Path(ROOT / page).read_text()
        assert {name for name in names if name not in text} == set()


def test_the_files_that_contributors_are_sent_to_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:sipmikey|tests|tools|contrib|native|docs|examples)/[\w./-]*)`", text)
    assert len(named) > 12
    assert [path for path in named if not (ROOT / path).exists()] == []
