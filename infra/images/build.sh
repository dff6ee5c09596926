#!/usr/bin/env bash
# Builds the three images and writes what they are to build/images.env: `infra/images/build.sh
# registry.example.org/sluice`. With PUSH=1 it pushes them, and the file names them by digest.
set -euo pipefail
cd "$(dirname "$0")/../.."
registry=${1:?usage: infra/images/build.sh REGISTRY}
set -a
# shellcheck source=/dev/null
. "${BASES:-infra/images/bases.env}"
set +a
pinned='^[^@[:space:]]+@sha256:[0-9a-f]{64}$'
for name in PYTHON_BASE TRITON_BASE; do
  if [[ ! ${!name:-} =~ $pinned ]]; then
    echo "error: $name is not NAME@sha256:DIGEST: fill infra/images/bases.env" >&2
    exit 2
  fi
done
revision=$(git rev-parse --short=12 HEAD)
mkdir -p build
: >build/images.env
build() { # NAME VARIABLE ARGUMENTS...
  local image=$registry/$1:$revision
  docker buildx build --file "infra/images/$1.Dockerfile" --tag "$image" --load "${@:3}" .
  if [[ ${PUSH:-} ]]; then
    docker push --quiet "$image"
    image=$registry/$1@$(docker buildx imagetools inspect "$image" --format '{{.Manifest.Digest}}')
  fi
  echo "$2=$image" | tee -a build/images.env
}
build control SLUICE_CONTROL_IMAGE --build-arg PYTHON_BASE
build worker SLUICE_WORKER_IMAGE --build-arg PYTHON_BASE
build serving SLUICE_SERVING_IMAGE --build-arg TRITON_BASE
