"""The completion script for bash (its Programmable Completion, bash 4 and later)."""

from collections.abc import Sequence

from cryodrake.app.completion_words import CommandWords

HEAD = """# bash completion of cryodrake; in ~/.bashrc: source <(cryodrake completion bash)
_cryodrake() {
    local word=$2 before=$3 command=${COMP_WORDS[1]} i
    COMPREPLY=()
    if (( COMP_CWORD == 1 )); then
        COMPREPLY=($(compgen -W "@NAMES@ --help --version" -- "$word"))
        return
    fi
"""
CARRIED = """    if [[ $command == @NAME@ ]]; then  # the last command on the line is the one being typed
        for (( i = 2; i < COMP_CWORD; i++ )); do
            case ${COMP_WORDS[i]} in @PLAIN@) command=${COMP_WORDS[i]} ;; esac
        done
    fi
"""
TAIL = """    esac
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$word"))
    elif [[ -n $plain ]]; then
        COMPREPLY=($(compgen -W "$plain" -- "$word"))
    else
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}
complete -F _cryodrake cryodrake
"""


def script(commands: Sequence[CommandWords]) -> str:
    """The whole script."""
    parts = [HEAD.replace("@NAMES@", " ".join(command.name for command in commands))]
    parts += [
        CARRIED.replace("@NAME@", command.name).replace("@PLAIN@", "|".join(command.choices))
        for command in commands
        if command.carries
    ]
    parts.append("    local options= plain= values=\n    case $command:$before in\n")
    for command in commands:
        for option in command.options:
            if option.choices:
                pattern = "|".join(f"{command.name}:{flag}" for flag in option.flags)
                parts.append(f'        {pattern}) values="{" ".join(option.choices)}" ;;\n')
    parts.append(
        '    esac\n    if [[ -n $values ]]; then\n        COMPREPLY=($(compgen -W "$values" -- "$word"))\n        return\n    fi\n'
    )
    parts.append("    case $command in\n")
    for command in commands:
        flags = " ".join(flag for option in command.options for flag in option.flags)
        parts.append(f'        {command.name}) options="{flags}" plain="{" ".join(command.choices)}" ;;\n')
    return "".join(parts) + TAIL
