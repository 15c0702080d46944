"""The commands: one module each, over the library."""
