"""Runs: from particles to poses, a field and maps, with checkpoints to resume from."""
