"""A SLURM batch script from a template: `{{name}}` is replaced, and a line whose value is not given is left out."""

import re
from collections.abc import Mapping

from cryodrake.errors import InputError

PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")

DEFAULT = """#!/bin/bash
#SBATCH --job-name={{job_name}}
#SBATCH --output={{log}}
#SBATCH --open-mode=append
#SBATCH --chdir={{folder}}
#SBATCH --time={{time}}
#SBATCH --cpus-per-task={{cpus}}
#SBATCH --mem={{memory}}
#SBATCH --partition={{partition}}
#SBATCH --account={{account}}
#SBATCH --gres=gpu:{{gpus}}
# Two minutes before the time is up the job is told to stop: it saves, and goes on with --resume.
#SBATCH --signal=B:TERM@120

export OMP_NUM_THREADS={{cpus}}
exec {{command}}
"""


def fill(template: str, values: Mapping[str, str | None]) -> str:
    """The script.

    Raises:
        InputError: the template has a placeholder that we do not know, or none for the command.
    """
    used = set(PLACEHOLDER.findall(template))
    known = ", ".join(f"{{{{{name}}}}}" for name in values)
    for name in sorted(used - set(values)):
        raise InputError(f"has a placeholder {{{{{name}}}}}", where="--template", expected=known)
    if "command" not in used:
        raise InputError("has no place for the command", where="--template", expected="a line with {{command}}")
    lines = [line for line in template.splitlines() if all(values[name] is not None for name in PLACEHOLDER.findall(line))]
    # A function, as a value may hold what re.sub would take for a group.
    return "\n".join(PLACEHOLDER.sub(lambda match: str(values[match[1]]), line) for line in lines) + "\n"
