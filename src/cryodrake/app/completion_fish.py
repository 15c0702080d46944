"""The completion script for fish."""

from collections.abc import Sequence

from cryodrake.app.completion_words import CommandWords, Option

HEAD = """# fish completion of cryodrake; to install: cryodrake completion fish > ~/.config/fish/completions/cryodrake.fish
complete -c cryodrake -n __fish_use_subcommand -f
"""


def script(commands: Sequence[CommandWords]) -> str:
    """The whole script."""
    lines = [f"complete -c cryodrake -n __fish_use_subcommand -a {c.name} -d {_quoted(c.words)}\n" for c in commands]
    for command in commands:
        here = f"complete -c cryodrake -n '__fish_seen_subcommand_from {command.name}'"
        lines += [f"{here} {_option(option)}\n" for option in command.options]
        if command.choices:
            lines.append(f"{here} -f -a {_quoted(' '.join(command.choices))}\n")
    return HEAD + "".join(lines)


def _option(option: Option) -> str:
    flags = [f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags]
    if option.choices:
        flags.append(f"-x -a {_quoted(' '.join(option.choices))}")
    elif option.is_file:
        flags.append("-r -F")
    elif not option.is_switch:
        flags.append("-x")
    return f"{' '.join(flags)} -d {_quoted(option.words)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
