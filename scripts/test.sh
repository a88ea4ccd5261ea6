#!/usr/bin/env bash
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
#
# Usage: scripts/test.sh      (after scripts/build.sh; `make test` does all)
#
# Runs the fast tests as `colcon test` does on any ROS machine, both parts (CMakeLists.txt) side by
# side, and shows them as they run. The files of a few that fail are run again, alone (run_again.py
# says why). The last line is the count of what was run; the exit status is not 0 when a test failed
# or none ran.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
RESULTS=$ROOT/build/vla_adapter_ros/test_results

cd "$ROOT"
# shellcheck source=scripts/env.sh
. scripts/env.sh
rm -rf "$RESULTS"
status=0
# ctest puts the number of the part before each line.
colcon --log-base log test --base-paths . --packages-select vla_adapter_ros \
  --event-handlers console_direct+ --return-code-on-test-failure --ctest-args -j2 2>&1 \
  | tee log/test.log | sed -uE -n 's/^1: ?/nodes | /p; s/^2: ?/unit  | /p' || status=$?
((status == 0)) || { python scripts/run_again.py "$RESULTS" && status=0; } || true
python scripts/count_tests.py "$RESULTS" || status=1
((status == 0)) || say 'the complete output is in log/test.log' >&2
exit "$status"
