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
    """What may follow the commands in *path*: commands, and options with whether each takes a value.

    ``choices``: what an argument without an option may be. ``values``: what the value of an option may be.
    """

    path: tuple[str, ...]
    commands: tuple[tuple[str, str], ...]
    options: tuple[tuple[str, str, bool], ...]
    choices: tuple[str, ...] = ()
    values: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def all(self) -> str:
        """Commands, arguments and options, separated by blanks."""
        return " ".join(
            [*(name for name, _ in self.commands), *self.choices, *(name for name, *_ in self.options)]
        )


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
    choices: list[str] = []
    values: list[tuple[str, tuple[str, ...]]] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            commands |= {name: (helps.get(name, ""), below) for name, below in action.choices.items()}
        elif action.help != argparse.SUPPRESS:
            takes = action.nargs != 0
            options += [(name, _one_line(action.help), takes) for name in action.option_strings]
            allowed = tuple(map(str, action.choices or ()))
            if not action.option_strings:
                choices += allowed
            elif allowed:
                values += [(name, allowed) for name in action.option_strings]
    yield Words(
        path,
        tuple((name, _one_line(text)) for name, (text, _) in commands.items()),
        tuple(options),
        tuple(choices),
        tuple(values),
    )
    for name, (_, below) in commands.items():
        yield from words(below, (*path, name))


def _one_line(text: str | None) -> str:
    return " ".join((text or "").replace("%%", "%").split())


def bash(found: tuple[Words, ...]) -> str:
    """Return the completion for bash."""
    cases = "\n".join(f'    "{" ".join(one.path)}") words="{one.all}" ;;' for one in found)
    values = " ".join(sorted({name for one in found for name, _, takes in one.options if takes}))
    known = "|".join(sorted({name for one in found for name, _ in one.commands}))
    allowed = "\n".join(f'    {name}) words="{" ".join(each)}" ;;' for name, each in _values(found))
    return f"""\
# bash completion of sipmikey; made by `sipmikey completion bash`
_sipmikey() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} path="" word words=""
  local takes=" {values} "
  case $previous in
{allowed}
  esac
  if [[ $words ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    return
  elif [[ $takes == *" $previous "* ]]; then
    COMPREPLY=($(compgen -f -- "$current"))
    return
  fi
  previous=""
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    # A value is not a command, though it may be written like one.
    [[ $takes == *" $previous "* ]] ||
      case $word in {known}) path="${{path:+$path }}$word" ;; esac
    previous=$word
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
        entries = [
            *one.commands,
            *((name, "") for name in one.choices),
            *((name, text) for name, text, _ in one.options),
        ]
        quoted = " ".join(_quoted(f"{name}:{text.replace(':', ' ')}") for name, text in entries)
        cases.append(f'    "{" ".join(one.path)}") entries=({quoted}) ;;')
    known = "|".join(sorted({name for one in found for name, _ in one.commands}))
    takes = " ".join(sorted({name for one in found for name, _, takes in one.options if takes}))
    allowed = "\n".join(
        f"    {name}) compadd -- {' '.join(each)}; return ;;" for name, each in _values(found)
    )
    body = "\n".join(cases)
    return f"""\
#compdef sipmikey
# zsh completion of sipmikey; made by `sipmikey completion zsh`
_sipmikey() {{
  local place="" word previous="" takes=" {takes} "
  local -a entries
  case ${{words[CURRENT-1]}} in
{allowed}
  esac
  if [[ $takes == *" ${{words[CURRENT-1]}} "* ]]; then
    _files
    return
  fi
  for word in "${{(@)words[2,CURRENT-1]}}"; do
    # A value is not a command, though it may be written like one.
    [[ $takes == *" $previous "* ]] ||
      case $word in {known}) place="${{place:+$place }}$word" ;; esac
    previous=$word
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
        if one.choices:
            lines.append(f"complete -c sipmikey -f{condition} -a '{' '.join(one.choices)}'")
        values = dict(one.values)
        for name, text, takes in one.options:
            kind = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
            value = f" -x -a '{' '.join(values[name])}'" if name in values else " -r" if takes else ""
            lines.append(f"complete -c sipmikey{condition} {kind}{value} -d {_quoted(text)}")
    return "\n".join(lines) + "\n"


def _values(found: tuple[Words, ...]) -> list[tuple[str, tuple[str, ...]]]:
    """Return each option whose values are known, with all that it may have behind any command."""
    known: dict[str, list[str]] = {}
    for one in found:
        for name, allowed in one.values:
            known.setdefault(name, []).extend(value for value in allowed if value not in known.get(name, ()))
    return sorted((name, tuple(allowed)) for name, allowed in known.items())


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "").replace("'", "") + "'"
