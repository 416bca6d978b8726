"""Which seed a picture is drawn from. torch's CPU generator uses 32 bits of it, so seeds have 32."""

import hashlib


def picture_seed(seed: int, prompt: str, index: int) -> int:
    """Seed of sample `index` of a prompt: the same in training's samples, the published ones and the base's.

    Consecutive pictures of a prompt have consecutive seeds, so no two of them are alike.
    """
    return (_hashed(f"sample\0{seed}\0{prompt}") + index) % 2**32


def class_image_seed(seed: int, index: int) -> int:
    """Seed of class image `index`, different for every index below 2^32."""
    return (_hashed(f"class image\0{seed}") + index) % 2**32


def _hashed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
