#!/usr/bin/env bash
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
#
# Runs the commands of docs/first_day.md: every block marked `bash`, in order, and how long each took.
#
#   scripts/first_day.sh            a quarter of an hour on two CPU cores, with all packages there
#   scripts/first_day.sh --quick    a few episodes and steps instead: whether all commands work
set -euo pipefail
cd "$(dirname "$0")/.."

smaller=()
case "${1:-}" in
  '') ;;
  --quick) smaller=(-e 's/--episodes [0-9]*/--episodes 3/' -e 's/steps=[0-9]*/steps=4/' -e 's/_every=[0-9]*/_every=2/'
    -e 's/\.every=[0-9]*/.every=2/') ;;
  *)
    echo "first_day.sh: unknown option $1; expected --quick or none" >&2
    exit 2
    ;;
esac

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# One file a block; its first line is a comment with the heading.
awk -v folder="$folder" '
  /^## / { heading = substr($0, 4) }
  /^```bash$/ { file = sprintf("%s/%02d.sh", folder, ++count); print "# " heading > file; next }
  /^```$/ { file = "" }
  file { print > file }' docs/first_day.md

report=()
for block in "$folder"/*.sh; do
  [ ${#smaller[@]} -eq 0 ] || sed -i -E "${smaller[@]}" "$block"
  heading=$(sed -n '1s/^# //p' "$block")
  printf '\n== %s\n' "$heading"
  sed 1d "$block"
  begin=$SECONDS
  # In this shell: the environment of the first block serves the others.
  # shellcheck disable=SC1090
  . "$block"
  report+=("$(printf '%5d s  %s' $((SECONDS - begin)) "$heading")")
done
echo
printf '%s\n' "${report[@]}"
printf '%5d s  altogether\n' "$SECONDS"
