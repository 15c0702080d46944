"""Pose inference by matrix products: scores, posteriors, searches and local refinement. The field is never evaluated here."""
