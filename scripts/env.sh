# shellcheck shell=bash
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
#
# Source this to use the built package in a terminal (bash or zsh):
#
#     . scripts/env.sh
#     python -m vla_adapter_ros.nodes.bringup --help
#
# It activates .venv, ROS 2 and install/, and sets MUJOCO_GL for offscreen rendering.
# The Fast DDS profile is chosen by launch and bringup (config/fastdds_*.xml), unless
# FASTDDS_DEFAULT_PROFILES_FILE is set.

# shellcheck disable=SC2296  # the second form is zsh's
_vla_root=$(cd "$(dirname "${BASH_SOURCE[0]:-${(%):-%x}}")/.." && pwd)
_vla_venv=${VENV:-$_vla_root/.venv}

if [ ! -f "$_vla_root/install/setup.bash" ]; then
  echo "env.sh: $_vla_root/install is missing; run make build" >&2
  unset _vla_root _vla_venv
  # shellcheck disable=SC2317
  return 1 2> /dev/null || exit 1
fi

# colcon's files use unset variables.
case $- in *u*) _vla_nounset=1 ;; *) _vla_nounset= ;; esac
set +u
_vla_suffix=bash
# A ROS installation without colcon-zsh leaves no setup.zsh; the bash one serves most shells.
[ -z "${ZSH_VERSION:-}" ] || [ ! -f "$_vla_root/install/setup.zsh" ] || _vla_suffix=zsh
# shellcheck disable=SC1090,SC1091
{
  if [ -z "${AMENT_PREFIX_PATH:-}" ] && [ -f "$_vla_venv/ros_setup" ]; then
    . "$(cat "$_vla_venv/ros_setup")"
  fi
  . "$_vla_venv/bin/activate"
  . "$_vla_root/install/setup.$_vla_suffix"
}

export MUJOCO_GL="${MUJOCO_GL:-egl}"

[ -z "$_vla_nounset" ] || set -u
unset _vla_root _vla_venv _vla_suffix _vla_nounset
