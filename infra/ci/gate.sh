#!/usr/bin/env bash
# Judges a model: the part of a CI job that every CI shares. Ends as `sluice gate` does: 0 pass, 1 fail,
# 2 error, 3 inconclusive, and then leaves $REPORT/{verdict,gate.json,junit.xml,summary.md,pages}.
# MODEL and REPORT, a folder that is emptied, are asked for; VARIANTS (parted by spaces) and ARTIFACT
# may be empty. `sluice` is on the PATH, and SLUICE_WORKSPACE says where the workspace is.
set -euo pipefail
rm -rf "${REPORT:?}"
mkdir -p "$REPORT"
options=()
set -f # a variant is a word, not a pattern of files
for variant in ${VARIANTS:-}; do options+=(--variant "$variant"); done
if [ -n "${ARTIFACT:-}" ]; then options+=(--artifact "$ARTIFACT"); fi
set +e
sluice gate "${options[@]}" --junit "$REPORT/junit.xml" --markdown "$REPORT/summary.md" --pages "$REPORT/pages" --output json -- "${MODEL?}" 2>&1 >"$REPORT/gate.json" | tee "$REPORT/log" >&2
code=${PIPESTATUS[0]}
set -e
case $code in
  0) verdict=pass ;;
  1) verdict=fail ;;
  3) verdict=inconclusive ;;
  *) verdict=error ;;
esac
echo "$verdict" >"$REPORT/verdict"
if [ ! -s "$REPORT/summary.md" ]; then
  # Refused before anything was judged: what was said is all there is.
  printf '### Gate: %s\n\n~~~text\n%s\n~~~\n' "$verdict" "$(tail -n 5 "$REPORT/log")" >"$REPORT/summary.md"
fi
exit "$code"
