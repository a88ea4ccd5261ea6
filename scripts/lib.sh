# shellcheck shell=bash
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
#
# What setup.sh, build.sh and test.sh share: progress lines, logged commands, the choice of ROS
# installation and Python. Sourced, never run.

# shellcheck disable=SC2034  # some are used by the scripts only

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${VENV:-$ROOT/.venv}
[[ $VENV == /* ]] || VENV=$PWD/$VENV
LOGS=$ROOT/log/setup
# Set by choose_ros: `ros` (an installation is used) or `pypi`, the Python to build on, and the
# distribution from PyPI.
MODE=
BASE_PYTHON=
PYPI_ROS=

if [[ -t 1 && -z ${CI:-} ]]; then INTERACTIVE=1; else INTERACTIVE=; fi

# Microseconds since the epoch; the decimal separator depends on the locale.
now() { echo "${EPOCHREALTIME/[.,]/}"; }

# since START: seconds with one decimal.
since() {
  local tenths=$((($(now) - $1) / 100000))
  echo "$((tenths / 10)).$((tenths % 10)) s"
}

say() { printf '%s\n' "$*"; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# logged LABEL LOG COMMAND...: run with output to a file; show life while it runs, the time when
# it is done, and the end of the log when it fails.
logged() {
  local label=$1 log=$2 start pid status=0 beat
  shift 2
  start=$(now)
  mkdir -p "$(dirname "$log")"
  # A process group of its own: Ctrl-C must reach all of it, and bash lets plain background
  # commands ignore it.
  set -m
  "$@" > "$log" 2>&1 < /dev/null &
  pid=$!
  set +m
  # shellcheck disable=SC2064  # the pid of now is meant
  trap "kill -- -$pid 2> /dev/null; wait $pid 2> /dev/null; exit 130" INT TERM
  beat=0
  while kill -0 "$pid" 2> /dev/null; do
    sleep 0.2
    beat=$((beat + 1))
    show_life "$label" "$log" "$beat" "$start"
  done
  wait "$pid" || status=$?
  trap - INT TERM
  [[ -z $INTERACTIVE ]] || printf '\r\033[K'
  if ((status != 0)); then
    say "$label: failed after $(since "$start"). The last lines of $log:" >&2
    tail -n 25 "$log" | sed 's/^/  | /' >&2
    return "$status"
  fi
  say "$label ($(since "$start"))"
}

# On a terminal one line that keeps changing; elsewhere a line every 30 s.
show_life() {
  local label=$1 log=$2 beat=$3 start=$4 last
  if [[ -n $INTERACTIVE ]]; then
    last=$(tail -n 1 "$log" | tr -d '\r' | cut -c 1-50)
    printf '\r\033[K%s … %s  %s' "$label" "$(since "$start")" "$last"
  elif ((beat % 150 == 0)); then
    say "$label … $(since "$start")"
  fi
}

# The venv of an earlier run must not be taken for the system's Python.
path_without_venv() {
  local entry kept=
  while read -r -d : entry; do
    [[ $entry == "$VENV/bin" ]] || kept+=${kept:+:}$entry
  done <<< "$PATH:"
  echo "$kept"
}

# Jazzy's modules need numpy 1, which ends with Python 3.12.
newest_python() { if [[ $PYPI_ROS == jazzy ]]; then echo 12; else echo 14; fi; }

python_fits() {
  "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, int(sys.argv[1])))' \
    "$(newest_python)" 2> /dev/null
}

imports() { "$1" -c "import $2" 2> /dev/null; }

# Decide between an installed ROS 2 and PyPI's, and find the Python that goes with it.
choose_ros() {
  PATH=$(path_without_venv)
  if [[ -z ${AMENT_PREFIX_PATH:-} && -f $VENV/ros_setup && -f $(< "$VENV/ros_setup") ]]; then
    # The environment was made for this installation; a new terminal need not source it again.
    # Images of ROS set ROS_DISTRO without sourcing anything.
    set +u
    # shellcheck disable=SC1090
    . "$(< "$VENV/ros_setup")"
    set -u
    PATH=$(path_without_venv)
  fi
  # env.sh names the distribution of the environment's own ROS, too.
  if [[ -n ${ROS_DISTRO:-} && -n ${AMENT_PREFIX_PATH:-} && ":$AMENT_PREFIX_PATH:" != *":$VENV:"* ]]; then
    [[ -z ${ROS:-} ]] || die "ROS=$ROS is one from PyPI, but ROS 2 $ROS_DISTRO is sourced; use one of them"
    choose_ros_python
  else
    MODE=pypi
    PYPI_ROS=${ROS:-$(ros_of_venv)}
    [[ -f $ROOT/requirements/ros-$PYPI_ROS.txt ]] \
      || die "ROS=$PYPI_ROS: from PyPI there are kilted and jazzy; source the setup.bash of another"
    choose_plain_python
  fi
}

choose_ros_python() {
  local python
  for python in ${PYTHON:-/usr/bin/python3 python3}; do
    if python_fits "$python" && imports "$python" rclpy; then
      MODE=ros
      BASE_PYTHON=$(command -v "$python")
      return
    fi
  done
  die "ROS 2 $ROS_DISTRO is sourced, but ${PYTHON:-python3} cannot import rclpy (or is not" \
    "Python 3.10 to 3.14). Install ros-$ROS_DISTRO-rclpy, or unset ROS_DISTRO to use PyPI's ROS 2."
}

choose_plain_python() {
  local python
  for python in ${PYTHON:-python3 python3.12 python3.11 python3.13 python3.14 python3.10}; do
    if python_fits "$python"; then
      BASE_PYTHON=$(command -v "$python")
      return
    fi
  done
  BASE_PYTHON=
  [[ -z ${PYTHON:-} ]] || die "PYTHON=$PYTHON is $(python_says "$PYTHON");" \
    "Python 3.10 to 3.$(newest_python) is needed"
}

python_says() { "$1" --version 2>&1 || echo 'not there'; }

# The interpreter below all virtual environments.
python_identity() {
  "$1" -c 'import os, sys; print(os.path.realpath(sys._base_executable), *sys.version_info[:2])'
}

# The distribution from PyPI that the environment has or, if there is none yet, will have.
ros_of_venv() { cat "$VENV/ros_pypi" 2> /dev/null || echo kilted; }

# What the environment depends on beside the requirement files.
describe_base() {
  python_identity "$BASE_PYTHON"
  if [[ $MODE == ros ]]; then echo "ros $ROS_DISTRO"; else echo "pypi $PYPI_ROS"; fi
}
