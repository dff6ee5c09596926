#!/usr/bin/env bash
# Resolves the locks again from pyproject.toml: `make lock`.
# PyTorch is left out of the converter's lock: its build differs from machine to machine.
set -euo pipefail
cd "$(dirname "$0")"
uv=${UV:-uv}
compile() { # LOCK ARGUMENTS...
  local lock=$1; shift
  "$uv" pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-header --no-annotate --output-file "$lock" "$@" ../../pyproject.toml
}
only_group() { "$uv" pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-header --no-annotate --output-file "$1.lock" "${@:2}" --group "../../pyproject.toml:$1"; }
compile control.lock --group ../../pyproject.toml:dev
only_group converter --no-emit-package torch ${TORCH_WHEELS:+--find-links "$TORCH_WHEELS"}
only_group keras
only_group serving
only_group scanners
only_group bootstrap
