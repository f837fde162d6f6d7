# The image in which every step runs on Kubeflow Pipelines and Vertex AI; it runs the command line as well.
# `make image IMAGE=registry/name:tag` builds it, with VARIANT=cuda or VARIANT=tpu for accelerators: docs/image.md.
# tests/image/ does what this file says, without Docker. What changes most often comes last, for the sake of the cache.

# By digest, so that the same bytes are built on; the tag says to people what they are. Newer ones: docs/supply_chain.md.
ARG BASE=docker.io/library/python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

FROM $BASE AS build
# pyfarmhash is published as source only. The compiler stays in this stage.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/venv
# The lock that `make run` installs: same versions, same hashes. These layers depend on the locks alone.
COPY requirements.txt /tmp/
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r /tmp/requirements.txt
# cpu, jax, cuda or tpu: what comes on top.
ARG VARIANT=cpu
COPY requirements-cuda.txt requirements-jax.txt requirements-tpu.txt /tmp/
RUN [ "$VARIANT" = cpu ] \
    || /opt/venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r "/tmp/requirements-$VARIANT.txt"

FROM $BASE
RUN useradd --no-create-home --home-dir /home/pipeline --uid 1000 pipeline
# Whatever user a cluster chooses may write here: a home, downloaded presets, runs without `--root`.
RUN mkdir -p /home/pipeline /cache /pipeline/runs \
    && chmod 1777 /home/pipeline /cache /pipeline/runs
COPY --from=build /opt/venv /opt/venv

# `python` of the compiled steps must be the environment's, and /pipeline must be importable wherever a step starts:
# TFX names our functions and executors by dotted path. A user that the image does not know has neither home nor name:
# HOME and USER stand in for them.
ENV PATH="/opt/venv/bin:$PATH" \
    PYTHONPATH=/pipeline \
    PYTHONUNBUFFERED=1 \
    KERAS_BACKEND=tensorflow \
    TF_CPU_ALLOCATOR_USE_BFC=1 \
    HOME=/home/pipeline \
    USER=pipeline \
    XDG_CACHE_HOME=/cache \
    KERAS_HOME=/cache/keras \
    KAGGLEHUB_CACHE=/cache/kagglehub \
    HF_HOME=/cache/huggingface

# Relative paths of a configuration start here, as they do in the repository.
WORKDIR /pipeline
# The record of a run names the lock by its hash.
COPY LICENSE requirements.txt ./
COPY data data
COPY configs configs
COPY components components
COPY pipeline pipeline

# By number: Kubernetes cannot tell of a name that it is not root's (`runAsNonRoot`).
USER 1000
# A job answers no probe while it runs, so that there is no HEALTHCHECK. Instead, an image is not built if its command line does
# not start, or if its steps cannot be imported, for want of a system library, say. Nothing of this check is kept.
RUN export HOME=/tmp/check KERAS_HOME=/tmp/check XDG_CACHE_HOME=/tmp/check \
    && python -m pipeline validate configs/runs/tiny_gpt2_en_lora.yaml \
    && python -c "import pipeline.pipeline, tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor" \
    && rm -rf /tmp/check

ARG BASE
ARG CODE_VERSION=unknown
ENV CODE_VERSION=$CODE_VERSION
LABEL org.opencontainers.image.title="lm-fine-tuning" \
      org.opencontainers.image.description="Fine-tuning pipeline for language models, with a gate and a memory" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="$BASE" \
      org.opencontainers.image.revision="$CODE_VERSION"

# TFX's own images start `tfx.scripts.run_executor` here. Nothing needs that any more: TFX gives the steps of Kubeflow and Vertex AI,
# and custom training jobs, a whole command (`KUBEFLOW_TFX_CMD`, `training_clients._CONTAINER_COMMAND`), which replaces this one, and so
# do nodes that `python -m pipeline` starts. The entry point is left to people: `docker run IMAGE validate configs/runs/...`.
ENTRYPOINT ["python", "-m", "pipeline"]
CMD ["--help"]
