"""Judging what was trained: which checkpoint is best, subject and prompt fidelity, drift."""
