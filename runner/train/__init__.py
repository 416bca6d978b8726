"""The training program: DreamBooth fine-tuning with prior preservation (Ruiz et al. 2023, arXiv 2208.12242)."""
