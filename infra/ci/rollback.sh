#!/usr/bin/env bash
# Sends all traffic back: the part of a CI job that every CI shares. Ends as `sluice rollback` does: 0 it
# is back, 2 wrong use or a broken engine, 3 a person is needed, and leaves
# $REPORT/{outcome,rollback.json,summary.md}. MODEL and REPORT, a folder that is emptied, are asked for;
# TO names a release, REASON says why.
set -euo pipefail
rm -rf "${REPORT:?}"
mkdir -p "$REPORT"
options=()
if [ -n "${TO:-}" ]; then options+=(--to "$TO"); fi
if [ -n "${REASON:-}" ]; then options+=(--reason "$REASON"); fi
set +e
sluice rollback "${options[@]}" --output json -- "${MODEL?}" 2>&1 >"$REPORT/rollback.json" | tee "$REPORT/log" >&2
code=${PIPESTATUS[0]}
set -e
case $code in
  0) outcome=rolled-back ;;
  3) outcome=waits-for-a-person ;;
  *) outcome=error ;;
esac
echo "$outcome" >"$REPORT/outcome"
{
  printf '### Rollback: %s\n\n~~~text\n' "$outcome"
  tail -n 5 "$REPORT/log"
  if [ "$code" -ne 2 ]; then sluice status -- "$MODEL" || true; fi
  printf '~~~\n'
} >"$REPORT/summary.md" 2>&1
exit "$code"
