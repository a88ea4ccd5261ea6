#!/usr/bin/env bash
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
#
# Usage: scripts/container.sh COMMAND...      (the entry point of the Dockerfile)
#
# Runs a command in the built environment, with the executables of the package on PATH: `bringup`,
# `usb_camera`, `policy_server` (scripts/executables.txt), with and without the ros2 command.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/env.sh
. "$root/scripts/env.sh"
PATH=$root/install/vla_adapter_ros/lib/vla_adapter_ros:$PATH
exec "$@"
