"""The run spec: one immutable value that is the whole truth of a run."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from runner.spec import durations
from runner.spec.fields import Section, setting
from runner.spec.training import ClassImages, Precision, Sampler, Train

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$"
NAME_FORM = "a name of at most 32 lower-case letters, digits and dashes that begins and ends without a dash"
KUBERNETES_NAME: dict[str, Any] = {
    "pattern": r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$",
    "form": "a Kubernetes name: lower-case letters, digits, dashes and dots",
}
MEMORY: dict[str, Any] = {
    "pattern": r"^[0-9]+(\.[0-9]+)?([KMGTP]i?)?$",
    "form": "a quantity such as 24Gi or 500M",
}
URL: dict[str, Any] = {"pattern": r"^https?://[^\s/]+", "form": "a URL that begins with http:// or https://"}
PROMPT: dict[str, Any] = {"min_length": 1, "pattern": r"\S", "form": "words"}

NO_GPU = "none"
"""The `resources.gpu` of a cluster without GPUs."""

Provider = Literal["generic", "gke", "eks", "karpenter", "aks", "coreweave"]

Prompt = Annotated[str, Field(min_length=1, pattern=r"\S")]
Quantity = Annotated[
    str,
    # cpu: 4 is a number in YAML.
    BeforeValidator(lambda v: str(v) if isinstance(v, int | float) and not isinstance(v, bool) else v),
    WithJsonSchema({"type": ["string", "number"]}),
]


class Model(Section):
    """The base model that is fine-tuned."""

    short_form: ClassVar[str] = "id"

    id: str = setting(
        ..., "hub id, s3://…, directory, or builtin:…", identity=True, path="model", min_length=1
    )
    revision: str | None = setting(None, "hub revision: a commit, tag or branch", identity=True)
    allow_pickle: bool = setting(False, "accept weights that only exist as pickle files")


class Vae(Section):
    """Another autoencoder than the model's own."""

    short_form: ClassVar[str] = "id"

    id: str = setting(..., "hub id, s3://… or directory", identity=True, path="model", min_length=1)
    revision: str | None = setting(None, "hub revision", identity=True)


class Concept(Section):
    """One subject or style: its photos, and the words it is bound to."""

    instance_prompt: str = setting(..., "names the subject with its identifier", identity=True, **PROMPT)
    class_prompt: str | None = setting(None, "the same words without the identifier", identity=True, **PROMPT)
    instance_images: str = setting(
        ..., "directory or s3:// prefix of the photos", path="directory", min_length=1
    )
    class_images: str | None = setting(
        None, "your own class images instead of made ones", path="directory", min_length=1
    )


class Dataset(Section):
    """How photos become training images; part of each dataset's digest."""

    crop: Literal["center", "variants"] = setting("center", "one centred crop, or several planned ones")
    crop_variants: int = setting(4, "crops per photo with crop: variants", ge=1, le=64)
    flip: bool = setting(False, "add mirrored copies; not for faces, text or one-sided things")
    captions: bool = setting(True, "read photo.jpg.txt or photo.txt as that photo's prompt")


class Samples(Section):
    """The pictures drawn from the published weights."""

    prompts: tuple[Prompt, ...] = setting((), "what to draw; defaults to each instance and class prompt")
    negative_prompt: str = setting("", "what to keep out")
    checkpoint: Literal["last", "best"] | Annotated[int, Field(ge=1)] = setting(
        "last", "which checkpoint is published: the last, the best by measurement, or the one of a step"
    )
    count: int = setting(4, "pictures per prompt", ge=1, le=10_000)
    checkpoint_count: int = setting(1, "pictures per prompt at each checkpoint; 0 is none", ge=0, le=100)
    guidance_scale: float = setting(7.5, "classifier-free guidance scale", ge=0, le=50)
    steps: int = setting(30, "sampler steps", unit="steps", ge=1, le=1000)
    size: int | None = setting(
        None, "pixels a side; the resolution when not set", unit="px", ge=8, le=4096, multiple_of=8
    )
    seed: int = setting(
        0, "seed of picture i of a prompt is derived from this, the prompt and i", ge=0, lt=2**63
    )
    sampler: Sampler = setting("dpmpp_2m_karras", "sampler")
    precision: Precision = setting("auto", "arithmetic of drawing")
    batch_size: int = setting(4, "pictures drawn at once; never changes a picture", ge=1, le=256)


class Resources(Section):
    """What a Job asks of its node."""

    gpus: int = setting(1, "GPUs per node; processes without CUDA", identity=True, ge=1, le=16)
    nodes: int = setting(1, "nodes of the train Job", identity=True, ge=1, le=64)
    gpu: str | None = setting(
        None, "GPU type, as the cluster's labels name it; none: no GPU, and gpus counts CPU processes"
    )
    cpu: Quantity = setting(
        "4", "CPU request", pattern=r"^[0-9]+(\.[0-9]+)?m?$", form="a number of cores such as 4 or 500m"
    )
    memory: Quantity = setting("24Gi", "memory request and limit", **MEMORY)
    scratch: Quantity = setting("60Gi", "size of the scratch volume", **MEMORY)
    spot: bool = setting(False, "run on preemptible nodes")
    max_runtime: str = setting(
        "6h",
        "deadline of one Job, as 90m, 6h, 2d",
        pattern=durations.PATTERN,
        form=durations.FORM,
    )
    max_cost: float | None = setting(None, "deadline from a price, in the price table's currency", gt=0)


class Store(Section):
    """Where runs live."""

    short_form: ClassVar[str] = "url"

    url: str = setting("runs", "s3://bucket/prefix or a directory", path="directory", min_length=1)
    endpoint: str | None = setting(None, "S3 endpoint as this machine sees it", **URL)
    cluster_endpoint: str | None = setting(None, "S3 endpoint as pods see it, when another", **URL)
    region: str | None = setting(None, "S3 region", min_length=1)
    secret: str | None = setting(None, "Kubernetes Secret with the store's credentials", **KUBERNETES_NAME)


class Kubernetes(Section):
    """Where and how Jobs are created on a cluster."""

    context: str | None = setting(None, "kubeconfig context")
    namespace: str | None = setting(None, "namespace; the context's own when not set", **KUBERNETES_NAME)
    provider: Provider = setting(
        "generic",
        "whose labels resources.gpu and spot mean; karpenter: of EKS; generic: NVIDIA's own, no spot",
    )
    image: str | None = setting(None, "image of train, infer and render Jobs, by digest")
    follow_image: str | None = setting(None, "image of follow Jobs; image when not set")
    pull_secret: str | None = setting(None, "Secret for pulling images", **KUBERNETES_NAME)
    hub_secret: str | None = setting(
        None, "Secret whose key `token` opens a gated hub model", **KUBERNETES_NAME
    )
    service_account: str = setting("runner-job", "ServiceAccount of GPU Jobs", **KUBERNETES_NAME)
    follow_service_account: str = setting("runner-follow", "ServiceAccount of follow Jobs", **KUBERNETES_NAME)
    queue: str | None = setting(None, "Kueue LocalQueue", **KUBERNETES_NAME)
    model_cache: str | None = setting(
        None, "PersistentVolumeClaim that caches base models", **KUBERNETES_NAME
    )
    patch: dict[str, Any] = setting(
        {}, "changes merged into every Job, in a Job's shape; a follow Job keeps its resources"
    )


class RunSpec(Section):
    """One run."""

    model_config = ConfigDict(title="runner spec")

    name: str = setting(..., "DNS label that begins the run id", pattern=NAME_PATTERN, form=NAME_FORM)
    model: Model = setting(..., "the base model")
    vae: Vae | None = setting(None, "another autoencoder than the model's own")
    resolution: int | None = setting(
        None,
        "training size; the family's or the model's own when not set",
        unit="px",
        identity=True,
        ge=8,
        le=4096,
        multiple_of=8,
    )
    concepts: tuple[Concept, ...] = setting(..., "what is learnt", min_length=1)
    dataset: Dataset = setting(Dataset(), "how photos become training images")
    class_images: ClassImages = setting(ClassImages(), "prior preservation's images")
    train: Train = setting(Train(), "the fine-tuning")
    samples: Samples = setting(Samples(), "the pictures drawn at the end")
    resources: Resources = setting(Resources(), "what a Job asks of its node")
    store: Store = setting(Store(), "where runs live")
    executor: Literal["local", "kubernetes"] | None = setting(
        None, "where jobs run; kubernetes when there is a kubernetes section"
    )
    kubernetes: Kubernetes | None = setting(None, "the cluster")
