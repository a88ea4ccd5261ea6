#!/usr/bin/env bash
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
#
# Usage: scripts/build.sh      (after scripts/setup.sh; `make build` does both)
#
# Builds the package with colcon into install/. Python, configuration and launch files are linked,
# not copied, so editing them needs no build; it is skipped unless messages, CMake files, the
# environment, or the set of files changed.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
STAMP=$ROOT/build/vla_adapter_ros.stamp

environment_key() { { echo "$ROOT $VENV"; describe_base; } | sha256sum; }

sources_key() {
  cd "$ROOT"
  {
    cat CMakeLists.txt package.xml action/* msg/* srv/* scripts/executable*
    find vla_adapter_ros config launch -type f -not -name '*.pyc' | LC_ALL=C sort
  } | sha256sum
}

enter_environment() {
  set +u
  # shellcheck disable=SC1091
  . "$VENV/bin/activate"
  # shellcheck disable=SC1091
  [[ $MODE != pypi ]] || . "$VENV/local_setup.bash"
  set -u
}

colcon_build() {
  cd "$ROOT"
  colcon --log-base log build --base-paths . --packages-select vla_adapter_ros --symlink-install \
    --event-handlers console_direct+ --cmake-args -DBUILD_TESTING=ON --no-warn-unused-cli
}

main() {
  local start wanted
  start=$(now)
  choose_ros
  [[ -x $VENV/bin/python ]] || die "$VENV is missing; run make setup"
  wanted="$(environment_key)$(sources_key)"
  if [[ -f $STAMP && $(< "$STAMP") == "$wanted" && -f $ROOT/install/setup.bash ]]; then
    say "build: up to date ($(since "$start"))"
    return
  fi
  # CMake's cache holds the old interpreter and prefixes.
  if [[ -f $STAMP && $(head -c 64 "$STAMP") != "$(environment_key | head -c 64)" ]]; then
    rm -rf "$ROOT/build/vla_adapter_ros" "$ROOT/install"
  fi
  enter_environment
  rm -f "$STAMP"
  logged 'build: colcon, messages and package' "$ROOT/log/setup/5_build.log" colcon_build \
    || die 'the build failed'
  echo "$wanted" > "$STAMP"
}

main
