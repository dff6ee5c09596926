# The control plane: `sluice`, flows, the exporter, MLflow's and Prefect's servers. No framework.
# PYTHON_BASE is python:3.11-slim by digest; it has no default, so that nothing is built on a tag.
# infra/images/bases.env holds it and says how it is looked up again.
ARG PYTHON_BASE

FROM ${PYTHON_BASE} AS builder
ARG PYTHON_BASE
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN [[ "${PYTHON_BASE}" =~ @sha256:[0-9a-f]{64}$ ]]
WORKDIR /opt/sluice
COPY infra/environments/bootstrap.lock infra/images/control.lock /tmp/locks/
# The installer is apart from what it installs, and stays in this stage.
RUN python -m venv /opt/bootstrap \
 && /opt/bootstrap/bin/pip install --no-cache-dir --require-hashes --requirement /tmp/locks/bootstrap.lock \
 && python -m venv --without-pip .venv \
 && /opt/bootstrap/bin/uv pip install --no-cache --no-config --python .venv/bin/python \
      --require-hashes --compile-bytecode --requirement /tmp/locks/control.lock
COPY pyproject.toml README.md LICENSE prefect.yaml ./
COPY canary canary
COPY cli cli
COPY drift drift
COPY infra infra
COPY model_repository model_repository
COPY pipelines pipelines
COPY registry registry
COPY validation validation
# Flows are found where they stand, by `prefect.yaml`, in the worker as in the server.
RUN /opt/bootstrap/bin/uv pip install --no-cache --no-config --python .venv/bin/python \
      --no-deps --no-build-isolation --config-setting editable_mode=compat --editable . \
 && /opt/bootstrap/bin/uv pip uninstall --python .venv/bin/python setuptools \
 && .venv/bin/python -m compileall -q canary cli drift infra model_repository pipelines registry validation

FROM ${PYTHON_BASE}
# What installs has no place in what runs.
RUN python -m pip uninstall --yes pip setuptools wheel \
 && groupadd --gid 10001 sluice \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin sluice \
 && install --directory --owner 10001 --group 10001 /srv/sluice
COPY --from=builder /opt/sluice /opt/sluice
ENV PATH=/opt/sluice/.venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /opt/sluice
USER 10001:10001
# One image, several programs: each says in its manifest how it is asked whether it is well.
HEALTHCHECK NONE
CMD ["sluice", "--help"]
