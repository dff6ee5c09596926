#!/usr/bin/env bash
# Resolves the images' locks again, within those of infra/environments: what is tested is what runs.
set -euo pipefail
cd "$(dirname "$0")"
uv=${UV:-uv}
environments=../environments
lock() { # NAME PYTHON ARGUMENTS...
  "$uv" pip compile --quiet --python-version "$2" --generate-hashes --no-emit-index-url --no-header \
    --no-annotate --constraint "$environments/$1.lock" --output-file "$1.lock" "${@:3}"
}
lock control 3.11 --extra kubernetes ../../pyproject.toml control.in
# The Python of the official Triton image.
lock serving 3.12 serving.in
