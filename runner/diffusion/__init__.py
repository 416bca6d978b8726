"""Stable Diffusion's components: loading, sampling, drawing, export. Imports torch."""

import os

# Read when the libraries are first imported. Their hints are for programmers; a run's log is for its owner.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
