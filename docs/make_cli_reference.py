"""Write cli-reference.md from the help of every command: python docs/make_cli_reference.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from fasa_cli.app import app
from fasa_cli.commands._panels import in_panels

PLACE = Path(__file__).with_name("cli-reference.md")
HEAD = """# Commands

Made from the help of each command by `python docs/make_cli_reference.py`; a test compares the two.
`fasa COMMAND -h` shows the same on the screen.
"""


def commands_of(group: Any, path: str = "fasa") -> Iterator[tuple[str, Any]]:
    """(full name, command) of everything that can be run, in the order of the help."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def flags(option: Any) -> str:
    """`-o, --out DIR`; the two forms of a switch as `--a / --no-a`."""
    names = ", ".join(sorted(option.opts, key=lambda name: name.startswith("--")))
    if option.secondary_opts:
        return f"{names} / {', '.join(option.secondary_opts)}"
    return names if option.is_flag else f"{names} {option.metavar}"


def meaning(parameter: Any) -> str:
    """The help of an argument or option, with its default."""
    notes = []
    default = parameter.default() if callable(parameter.default) else parameter.default
    if isinstance(parameter.show_default, str):
        notes.append(f"default: {parameter.show_default}")
    elif isinstance(default, bool):
        notes += ["default: on"] if default and parameter.secondary_opts else []
    elif default is not None and default not in ("", (), []) and parameter.show_default:
        notes.append(f"default: {getattr(default, 'value', default)}")
    notes += ["required"] if parameter.required else []
    return " ".join([parameter.help or "", *(f"[{note}]" for note in notes)])


def section(name: str, command: Any) -> str:
    """One command: its words, and a table for each panel of its options."""
    shown = [one for one in command.params if not one.hidden]
    arguments = [one for one in shown if one.param_type_name == "argument"]
    options = [one for one in shown if one.param_type_name == "option"]
    lines = [f"## {name}", ""]
    for paragraph in (command.help or "").strip().split("\n\n"):
        lines += [" ".join(paragraph.split()), ""]
    if arguments:
        lines += ["| Arguments | |", "|---|---|"]
        lines += [f"| `{cell(one.metavar)}` | {cell(meaning(one))} |" for one in arguments] + [""]
    for title, members in in_panels(options):
        lines += [f"| {title} | |", "|---|---|"]
        lines += [f"| `{cell(flags(one))}` | {cell(meaning(one))} |" for one in members] + [""]
    return "\n".join(lines)


def reference() -> str:
    """The whole document."""
    root: Any = typer.main.get_command(app)
    sections = [section(name, command) for name, command in commands_of(root)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join([HEAD, *sections]).rstrip() + "\n")


if __name__ == "__main__":
    PLACE.write_text(reference(), encoding="utf-8")
