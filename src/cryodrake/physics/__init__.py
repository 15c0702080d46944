"""Image formation: pure functions on torch tensors; the only place where a convention of §docs/conventions.md is computed."""
