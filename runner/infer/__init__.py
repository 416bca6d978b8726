"""The inference program: publishes a trained run, and renders prompts with it. Imports torch."""
