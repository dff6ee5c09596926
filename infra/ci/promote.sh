#!/usr/bin/env bash
# Promotes a release and waits for its end: the part of a CI job that every CI shares. Ends as `sluice
# promote` does: 0 it serves all traffic, 1 turned back, 2 wrong use or a broken engine, 3 a person is
# needed, and leaves $REPORT/{outcome,promote.json,summary.md}. MODEL and REPORT, a folder that is
# emptied, are asked for; RELEASE or VARIANT say what, WAIT_MINUTES how long another rollout is waited
# for, REASON why.
set -euo pipefail
rm -rf "${REPORT:?}"
mkdir -p "$REPORT"
options=()
if [ -n "${RELEASE:-}" ]; then options+=(--release "$RELEASE"); fi
if [ -n "${VARIANT:-}" ]; then options+=(--variant "$VARIANT"); fi
if [ -n "${WAIT_MINUTES:-}" ]; then options+=(--wait "$WAIT_MINUTES"); fi
if [ -n "${REASON:-}" ]; then options+=(--reason "$REASON"); fi
set +e
sluice promote "${options[@]}" --output json -- "${MODEL?}" 2>&1 >"$REPORT/promote.json" | tee "$REPORT/log" >&2
code=${PIPESTATUS[0]}
set -e
case $code in
  0) outcome=promoted ;;
  1) outcome=turned-back ;;
  3) outcome=waits-for-a-person ;;
  *) outcome=error ;;
esac
echo "$outcome" >"$REPORT/outcome"
{
  printf '### Promotion: %s\n\n~~~text\n' "$outcome"
  tail -n 5 "$REPORT/log"
  if [ "$code" -ne 2 ]; then
    sluice status -- "$MODEL" || true
    sluice history --limit 15 -- "$MODEL" || true
  fi
  printf '~~~\n'
} >"$REPORT/summary.md" 2>&1
exit "$code"
