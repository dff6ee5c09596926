# The serving runtime: the official Triton, with what a release's own programs import.
# TRITON_BASE is nvcr.io/nvidia/tritonserver by digest, one with Python 3.12, for which the lock is
# resolved; it has no default. infra/images/bases.env says how it is looked up again.
ARG TRITON_BASE

FROM ${TRITON_BASE} AS builder
ARG TRITON_BASE
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN [[ "${TRITON_BASE}" =~ @sha256:[0-9a-f]{64}$ ]] \
 && python3 -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))'
COPY infra/images/serving.lock /tmp/serving.lock
RUN python3 -m pip install --no-cache-dir --no-deps --require-hashes --target /opt/sluice/python \
      --requirement /tmp/serving.lock

FROM ${TRITON_BASE}
COPY --from=builder /opt/sluice/python /opt/sluice/python
ENV PYTHONPATH=/opt/sluice/python \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
WORKDIR /tmp
USER 10001:10001
# Kubernetes asks by itself; this is for who runs it by hand.
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \
  CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=4)"]
CMD ["tritonserver", "--help"]
