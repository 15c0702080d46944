"""Particles as the reconstruction sees them: stacks, coefficients, half sets; and simulation."""
