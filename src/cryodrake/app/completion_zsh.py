"""The completion script for zsh (its _arguments)."""

from collections.abc import Sequence

from cryodrake.app.completion_words import CommandWords, Option

HEAD = """#compdef cryodrake
# zsh completion of cryodrake; to install: cryodrake completion zsh > "${fpath[1]}/_cryodrake"
_cryodrake() {
    local -a commands
    commands=(
@NAMES@
    )
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    local command=$words[2]
    shift words
    (( CURRENT-- ))
    case $command in
"""
TAIL = """    esac
}
if [[ $funcstack[1] == _cryodrake ]]; then
    _cryodrake "$@"
else
    compdef _cryodrake cryodrake
fi
"""


def script(commands: Sequence[CommandWords]) -> str:
    """The whole script."""
    names = "\n".join(f"        {_quoted(f'{command.name}:{_plain(command.words)}')}" for command in commands)
    lines = [HEAD.replace("@NAMES@", names)]
    for command in commands:
        lines.append(f"        {command.name})\n            _arguments -s \\\n")
        lines += [f"                {_option(option)} \\\n" for option in command.options]
        rest = f"*::command:({' '.join(command.choices)})" if command.choices else "*:file:_files"
        lines.append(f"                {_quoted(rest)} ;;\n")
    return "".join(lines) + TAIL


def _option(option: Option) -> str:
    """Such as {-o,--out}'[words]:value:_files'."""
    takes = "" if option.is_switch else f":value:({' '.join(option.choices)})" if option.choices else ":value:_files"
    if not (option.is_switch or option.choices or option.is_file):
        takes = ":value: "
    described = _quoted(f"[{_plain(option.words)}]{takes}")
    flags = option.flags[0] if len(option.flags) == 1 else "{" + ",".join(option.flags) + "}"
    return f"{flags}{described}"


def _plain(words: str) -> str:
    """Without what _arguments would read: brackets and colons."""
    return words.translate(str.maketrans("[]:", "();"))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
