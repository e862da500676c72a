"""`sipmikey completion`: words for the Tab key of bash, zsh and fish, from the parsers that make `--help`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from sipmikey.cli.exit_codes import ExitCode, table
from sipmikey.cli.tree import command_tree

EXAMPLES = """\
examples:
  sipmikey completion bash > ~/.local/share/bash-completion/completions/sipmikey
  sipmikey completion zsh > ~/.zfunc/_sipmikey
  sipmikey completion fish > ~/.config/fish/completions/sipmikey.fish
"""


@dataclass(frozen=True, slots=True)
class Words:
    """What may follow the commands in *path*: commands, and options with whether each takes a value."""

    path: tuple[str, ...]
    commands: tuple[tuple[str, str], ...]
    options: tuple[tuple[str, str, bool], ...]

    @property
    def all(self) -> str:
        """Commands and options, separated by blanks."""
        return " ".join([name for name, _ in self.commands] + [name for name, *_ in self.options])


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `completion` and its argument."""
    parser = subparsers.add_parser(
        "completion",
        help="print the completion of a shell",
        description="Print what makes the Tab key complete sipmikey's commands and options.",
        epilog=f"{EXAMPLES}\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))


def run(args: argparse.Namespace) -> int:
    """Print the completion."""
    found = tuple(words(command_tree()))
    print({"bash": bash, "zsh": zsh, "fish": fish}[args.shell](found), end="")
    return ExitCode.OK


def words(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[Words]:
    """Yield what may follow each command of *parser*, the outermost first."""
    commands: dict[str, tuple[str, argparse.ArgumentParser]] = {}
    options: list[tuple[str, str, bool]] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            commands |= {name: (helps.get(name, ""), below) for name, below in action.choices.items()}
        elif action.help != argparse.SUPPRESS:
            takes = action.nargs != 0
            options += [(name, _one_line(action.help), takes) for name in action.option_strings]
    yield Words(path, tuple((name, _one_line(text)) for name, (text, _) in commands.items()), tuple(options))
    for name, (_, below) in commands.items():
        yield from words(below, (*path, name))


def _one_line(text: str | None) -> str:
    return " ".join((text or "").replace("%%", "%").split())


def bash(found: tuple[Words, ...]) -> str:
    """Return the completion for bash."""
    cases = "\n".join(f'    "{" ".join(one.path)}") words="{one.all}" ;;' for one in found)
    values = " ".join(sorted({name for one in found for name, _, takes in one.options if takes}))
    known = "|".join(sorted({name for one in found for name, _ in one.commands}))
    return f"""\
# bash completion of sipmikey; made by `sipmikey completion bash`
_sipmikey() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} path="" word words=""
  local takes=" {values} "
  if [[ $takes == *" $previous "* ]]; then
    COMPREPLY=($(compgen -f -- "$current"))
    return
  fi
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case $word in {known}) path="${{path:+$path }}$word" ;; esac
  done
  case $path in
{cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _sipmikey sipmikey
"""


def zsh(found: tuple[Words, ...]) -> str:
    """Return the completion for zsh."""
    cases = []
    for one in found:
        entries = [(name, text) for name, text in one.commands] + [
            (name, text) for name, text, _ in one.options
        ]
        quoted = " ".join(_quoted(f"{name}:{text.replace(':', ' ')}") for name, text in entries)
        cases.append(f'    "{" ".join(one.path)}") entries=({quoted}) ;;')
    known = "|".join(sorted({name for one in found for name, _ in one.commands}))
    body = "\n".join(cases)
    return f"""\
#compdef sipmikey
# zsh completion of sipmikey; made by `sipmikey completion zsh`
_sipmikey() {{
  local place="" word
  local -a entries
  for word in "${{(@)words[2,CURRENT-1]}}"; do
    case $word in {known}) place="${{place:+$place }}$word" ;; esac
  done
  case $place in
{body}
  esac
  _describe sipmikey entries || _files
}}
compdef _sipmikey sipmikey
"""


def fish(found: tuple[Words, ...]) -> str:
    """Return the completion for fish."""
    lines = ["# fish completion of sipmikey; made by `sipmikey completion fish`"]
    for one in found:
        names = " ".join(name for name, _ in one.commands)
        seen = [f"__fish_seen_subcommand_from {name}" for name in one.path]
        if names:
            seen.append(f"not __fish_seen_subcommand_from {names}")
        condition = f" -n {_quoted('; and '.join(seen))}" if seen else ""
        for name, text in one.commands:
            lines.append(f"complete -c sipmikey -f{condition} -a {name} -d {_quoted(text)}")
        for name, text, takes in one.options:
            kind = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
            lines.append(f"complete -c sipmikey{condition} {kind}{' -r' if takes else ''} -d {_quoted(text)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "").replace("'", "") + "'"
