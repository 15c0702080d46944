"""What came out: figures, alignment to a truth, errors of poses."""
