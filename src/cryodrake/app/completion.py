"""`cryodrake completion SHELL`: a script after which Tab completes commands, options and their values.

    source <(cryodrake completion bash)                                        bash, in ~/.bashrc
    cryodrake completion zsh > "${fpath[1]}/_cryodrake"                        zsh
    cryodrake completion fish > ~/.config/fish/completions/cryodrake.fish      fish

The script is static: no Python runs when Tab is pressed.
"""

from dataclasses import dataclass
from typing import Literal

import tyro


@dataclass(frozen=True)
class CompletionConfig:
    """A script for your shell, to be read by it when it starts."""

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]
    """bash: `source <(cryodrake completion bash)`. zsh: a file _cryodrake in fpath. fish: a file cryodrake.fish."""


def main(config: CompletionConfig) -> None:
    """Prints the script."""
    from cryodrake.app import completion_bash, completion_fish, completion_zsh
    from cryodrake.app.completion_words import all_commands

    makers = {"bash": completion_bash.script, "zsh": completion_zsh.script, "fish": completion_fish.script}
    print(makers[config.shell](all_commands()), end="")
