# The image in which every step runs on Kubeflow Pipelines and Vertex AI; it runs the command line as well.
# Build with `make image`. The lock is the one that `make run` installs: same versions, same hashes.

FROM python:3.11-slim-bookworm AS build
# pyfarmhash is published as source only. The compiler stays in this stage.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/venv
COPY requirements.txt /tmp/requirements.txt
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r /tmp/requirements.txt

FROM python:3.11-slim-bookworm
ARG CODE_VERSION=unknown
LABEL org.opencontainers.image.revision=$CODE_VERSION \
      org.opencontainers.image.licenses=Apache-2.0
RUN useradd --create-home --uid 1000 pipeline
COPY --from=build /opt/venv /opt/venv
WORKDIR /pipeline
COPY requirements.txt .
COPY configs configs
COPY components components
COPY data data
COPY pipeline pipeline

# `python` of the compiled steps must be the environment's, and /pipeline must be importable wherever a step starts:
# TFX names our functions and executors by dotted path.
ENV PATH="/opt/venv/bin:$PATH" \
    PYTHONPATH="/pipeline" \
    PYTHONUNBUFFERED=1 \
    KERAS_BACKEND=tensorflow \
    TF_CPU_ALLOCATOR_USE_BFC=1 \
    CODE_VERSION=$CODE_VERSION
# A run writes below `runs/` unless it is told otherwise.
RUN mkdir runs && chown pipeline: runs
USER pipeline

# As in TFX's own images: arguments alone are an executor's. Kubeflow and Vertex steps bring a command of their own.
ENTRYPOINT ["python", "-m", "tfx.scripts.run_executor"]
