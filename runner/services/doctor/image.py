"""The images' references. Whether a registry has them is not asked: it may answer only inside the cluster."""

from collections.abc import Iterator

from runner.executors.kubernetes.manifest import image_warning
from runner.services.doctor.diagnosis import Result, failed, ok, warning
from runner.spec.model import Kubernetes


def references(settings: Kubernetes) -> Iterator[Result]:
    """The image of the Jobs, and that of follow Jobs."""
    if not settings.image:
        yield failed(
            "image", "kubernetes.image is not set", "Name the image of the Jobs, best by its digest."
        )
        return
    for image in dict.fromkeys((settings.image, settings.follow_image or settings.image)):
        if doubt := image_warning(image):
            yield warning("image", doubt, "Name it by its digest.")
        else:
            yield ok("image", f"{image}; whether the registry has it, the first pull tells")
