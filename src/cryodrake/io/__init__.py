"""Files in and out: particle files, stacks, maps, atomic models and the job folder."""
