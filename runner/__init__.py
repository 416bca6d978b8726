"""DreamBooth fine-tuning of Stable Diffusion as batch jobs."""

__version__ = "0.1.0"
