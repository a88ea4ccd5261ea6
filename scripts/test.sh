#!/usr/bin/env bash
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
#
# Usage: scripts/test.sh      (after scripts/build.sh; `make test` does all)
#
# Runs the fast tests as `colcon test` does on any ROS machine and shows them as they run. The
# last line is the count of what was run; the exit status is not 0 when a test failed or none ran.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
RESULTS=$ROOT/build/vla_adapter_ros/test_results

cd "$ROOT"
[[ -n ${ROS_DOMAIN_ID:-} ]] || export ROS_DOMAIN_ID=$((RANDOM % 100 + 1))
# shellcheck source=scripts/env.sh
. scripts/env.sh
rm -rf "$RESULTS"
status=0
# ctest puts "1: " before each line of the test.
colcon --log-base log test --base-paths . --packages-select vla_adapter_ros \
  --event-handlers console_direct+ --return-code-on-test-failure 2>&1 \
  | tee log/test.log | sed -uE -n 's/^[0-9]+: ?//p' || status=$?
python scripts/count_tests.py "$RESULTS" || status=1
((status == 0)) || say 'the complete output is in log/test.log' >&2
exit "$status"
