# The image of train, infer and render jobs, on GPUs by default; docker/README.md says how to build it for CPUs.
ARG BASE=nvidia/cuda:13.0.1-base-ubuntu24.04

FROM ${BASE} AS base
# CUDA's images bring no Python: the distribution's is installed. Other bases keep theirs.
# hadolint ignore=DL3008
RUN command -v python3 >/dev/null \
    || { apt-get update \
        && apt-get install --yes --no-install-recommends ca-certificates python3 \
        && rm -rf /var/lib/apt/lists/*; }

FROM base AS tools
# hadolint ignore=DL3008
RUN python3 -c 'import ensurepip' 2>/dev/null \
    || { apt-get update \
        && apt-get install --yes --no-install-recommends python3-venv \
        && rm -rf /var/lib/apt/lists/*; }
# The locks alone decide versions, whatever constraints a builder's own configuration of pip names.
ENV PIP_CONSTRAINT=/dev/null \
    PIP_NO_CACHE_DIR=1
# pip works from an environment of its own, so that the product's holds none.
RUN python3 -m venv /opt/tools && python3 -m venv --without-pip /opt/venv

FROM tools AS dependencies
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG LOCK=cuda
COPY docker/lock/${LOCK}.txt /tmp/lock.txt
RUN /opt/tools/bin/pip --python /opt/venv/bin/python install --require-hashes --only-binary :all: -r /tmp/lock.txt

FROM dependencies AS product
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
COPY docker/lock/build.txt /tmp/build.txt
RUN /opt/tools/bin/pip install --require-hashes --only-binary :all: -r /tmp/build.txt
COPY . /src
# --root keeps runner's own files apart: a change of the code is a layer of megabytes, torch's stays as it is.
RUN /opt/tools/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /tmp/dist /src \
    && /opt/tools/bin/pip --python /opt/venv/bin/python install --no-index --no-deps --root /opt/product /tmp/dist/*.whl \
    && mkdir -p /opt/product/usr/share/sbom \
    && /opt/tools/bin/cyclonedx-py environment --output-reproducible --pyproject /src/pyproject.toml \
        --output-file /opt/product/usr/share/sbom/runner.cdx.json /opt/venv/bin/python

FROM base
# The uid that k8s/jobs/*.yaml run as. A name for it, since torch asks who it is.
RUN groupadd --gid 65532 runner \
    && useradd --no-log-init --uid 65532 --gid 65532 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin runner
# HOME: a job's root is read-only, and /tmp is what it may write. LOGNAME: for clusters that assign a uid without a name.
ENV PATH=/opt/venv/bin:${PATH} \
    HOME=/tmp \
    LOGNAME=runner \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DREAMBOOTH_IN_IMAGE=1
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=product /opt/product/ /
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="runner: train, infer and render jobs" \
    org.opencontainers.image.description="DreamBooth fine-tuning of Stable Diffusion as batch jobs." \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
USER 65532:65532
WORKDIR /tmp
CMD ["runner", "--help"]
