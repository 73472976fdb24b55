"""`simko completion`: the script that completes commands, options, runs, queries and methods in a shell.

    eval "$(simko completion bash)"          in ~/.bashrc
    eval "$(simko completion zsh)"           in ~/.zshrc, after compinit
    simko completion fish | source           in ~/.config/fish/config.fish

The shell calls `simko` at every Tab, with the line in $COMP_LINE; `complete` answers, for `simko-train` too. No library
that reads logs or trains is loaded for it.
"""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn, get_args, get_type_hints

from .terminal.parser import Parser
from .terminal.run_addresses import default_runs, run_names

SHELLS = ("bash", "zsh", "fish")
_Completer = Callable[..., Iterable[str]]


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="simko completion", description="Print the script that completes `simko` and `simko-train`.")
    parser.add_argument("shell", choices=SHELLS, help='eval "$(simko completion bash)" in ~/.bashrc, likewise in zsh; '
                        "simko completion fish | source")  # fmt: skip
    return parser


def run(options: argparse.Namespace) -> int:
    """Print the script; returns the exit code."""
    from argcomplete.shell_integration import shellcode

    from .terminal.next_commands import installed_command

    print(shellcode(["simko", "simko-train"], shell=options.shell, argcomplete_script=installed_command("simko")))
    return 0


def complete() -> NoReturn:
    """Answer the shell: what the word at the cursor of $COMP_LINE can become."""
    import argcomplete

    try:
        words = shlex.split(os.environ.get("COMP_LINE", ""))
    except ValueError:  # a quote that is still open
        words = os.environ.get("COMP_LINE", "").split()
    training = bool(words) and Path(words[0]).name == "simko-train"
    parser = _training_parser() if training else _command_parser(words[1] if len(words) > 1 else "")
    argcomplete.autocomplete(parser, always_complete_options=False)
    raise SystemExit(1)  # the shell has not asked as it should


def _command_parser(word: str) -> argparse.ArgumentParser:
    """All commands, and the options of the one that is typed."""
    from .simko import COMMANDS

    parser = argparse.ArgumentParser(prog="simko", allow_abbrev=False)
    parser.add_argument("--version", action="store_true")
    commands = parser.add_subparsers()
    for name, command in COMMANDS.items():
        made = command.parser() if name == word else Parser(prog=name, description=command.doc)
        for action in made._actions:
            _attach(action, _COMPLETERS.get(f"{name} {action.dest}") or _COMPLETERS.get(action.dest))
        commands.add_parser(name, help=command.doc, parents=[made], add_help=False, prog=name, description=command.doc)
    return parser


def _training_parser() -> argparse.ArgumentParser:
    """The options of `simko-train`: ours with their choices, and TRL's."""
    from ..trainers.options.arguments import RunArguments
    from ..trainers.options.known_options import trl_options
    from ..trainers.options.methods import METHODS

    parser = argparse.ArgumentParser(prog="simko-train", allow_abbrev=False)
    parser.add_argument("--help-all", action="store_true")
    parser.add_argument("--config")
    types = get_type_hints(RunArguments)
    for name in RunArguments.__dataclass_fields__:
        choices = list(METHODS) if name == "method" else _choices(types[name])
        action = parser.add_argument(f"--{name}", choices=choices or None, nargs="?" if types[name] is bool else None)
        _attach(action, _run_folders if name == "resume" else None)
    for name in trl_options().keys() - types.keys():
        parser.add_argument(f"--{name}")
    return parser


def _choices(kind: Any) -> list[str]:
    """The values of a `Literal`, also of one that may be None; those of a switch."""
    if kind is bool:
        return ["true", "false"]
    values = [value for part in (kind, *get_args(kind)) for value in get_args(part)]
    return [value for value in dict.fromkeys(values) if isinstance(value, str)]


def _attach(action: argparse.Action, completer: _Completer | None) -> None:
    if completer is not None:
        setattr(action, "completer", completer)  # noqa: B010, an attribute of argcomplete's own


def _runs(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    given = getattr(parsed_args, "runs", None)
    return run_names(given if isinstance(given, Path) else default_runs())


def _run_folders(**_: Any) -> list[str]:
    return [str(default_runs() / name) for name in run_names(default_runs())]


def _queries(**_: Any) -> list[str]:
    from ..store.reading.named_queries import named_queries

    return list(named_queries())


def _parameters(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    from ..store.reading.named_queries import named_queries

    query = named_queries().get(str(parsed_args.sql))
    return [f"{name}=" for name in query.defaults] if query else []


def _studies(**_: Any) -> list[str]:
    """The shipped studies, by the names of their files."""
    folder = files("simko.trainers") / "study" / "studies"
    return [file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")]


_COMPLETERS: dict[str, _Completer] = {
    "run": _runs,
    "first": _runs,
    "second": _runs,
    "folder": _runs,
    "query runs": _runs,
    "sql": _queries,
    "set": _parameters,
    "study": _studies,
}
"""Argument (of one command, or of all) → what it can be."""
