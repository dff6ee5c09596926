# The worker: the control plane, and the environments that flows run in: conversions (PyTorch),
# private revisions of a gate (Triton from its wheel), and scanners of what comes in.
# PYTHON_BASE as in control.Dockerfile, of which this repeats the first stage: an image of ours that
# was not pushed yet has no digest to stand on.
ARG PYTHON_BASE

FROM ${PYTHON_BASE} AS builder
ARG PYTHON_BASE
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN [[ "${PYTHON_BASE}" =~ @sha256:[0-9a-f]{64}$ ]]
WORKDIR /opt/sluice
COPY infra/environments/bootstrap.lock infra/images/control.lock /tmp/locks/
RUN python -m venv /opt/bootstrap \
 && /opt/bootstrap/bin/pip install --no-cache-dir --require-hashes --requirement /tmp/locks/bootstrap.lock \
 && python -m venv --without-pip .venv \
 && /opt/bootstrap/bin/uv pip install --no-cache --no-config --python .venv/bin/python \
      --require-hashes --compile-bytecode --requirement /tmp/locks/control.lock
COPY infra/__init__.py infra/__init__.py
COPY infra/environments infra/environments
# PyTorch is the one package without a hash: its build differs from machine to machine. This is the
# one for CPUs; give an index of CUDA's builds for a worker with a GPU.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# `keras` is left out: TensorFlow is 1.3 GB, and only models of Keras need it.
ARG ENVIRONMENTS="converter serving scanners"
ENV SLUICE_CACHE=/opt/sluice/cache
RUN printf '%s' "${ENVIRONMENTS}" \
      | PIP_EXTRA_INDEX_URL="${TORCH_INDEX}" PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1 \
        xargs python -m infra.environments \
 && for python in cache/environments/converter-*/bin/python; do \
      "$python" -m pip uninstall --yes pip setuptools; \
    done \
 && rm -rf cache/environments/bootstrap-*
COPY pyproject.toml README.md LICENSE prefect.yaml ./
COPY canary canary
COPY cli cli
COPY drift drift
COPY infra infra
COPY model_repository model_repository
COPY pipelines pipelines
COPY registry registry
COPY validation validation
RUN /opt/bootstrap/bin/uv pip install --no-cache --no-config --python .venv/bin/python \
      --no-deps --no-build-isolation --config-setting editable_mode=compat --editable . \
 && /opt/bootstrap/bin/uv pip uninstall --python .venv/bin/python setuptools \
 && .venv/bin/python -m compileall -q canary cli drift infra model_repository pipelines registry validation

FROM ${PYTHON_BASE}
RUN python -m pip uninstall --yes pip setuptools wheel \
 && groupadd --gid 10001 sluice \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin sluice \
 && install --directory --owner 10001 --group 10001 /srv/sluice
COPY --from=builder /opt/sluice /opt/sluice
ENV PATH=/opt/sluice/.venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SLUICE_CACHE=/opt/sluice/cache
WORKDIR /opt/sluice
USER 10001:10001
# A run ends by itself, and Prefect asks after it.
HEALTHCHECK NONE
CMD ["sluice", "doctor"]
