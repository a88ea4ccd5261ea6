# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
#
# The order in which ament_cmake 2.8.7 and newer install Python packages, over an older one: found
# in its place with -Dament_cmake_python_DIR=<here> -DOLDER=<its folder>.
set(late_python_install_DIR "${CMAKE_CURRENT_LIST_DIR}")
set(ament_cmake_python_DIR "${OLDER}")
include("${OLDER}/ament_cmake_pythonConfig.cmake")
set(ament_cmake_python_DIR "${late_python_install_DIR}")

get_property(registered GLOBAL PROPERTY late_python_registered)
if(NOT registered)
  set_property(GLOBAL PROPERTY late_python_registered TRUE)
  find_package(ament_cmake_core REQUIRED)
  ament_register_extension("ament_package" "late_python_install" "install_packages.cmake")
endif()

macro(ament_python_install_package)
  _ament_cmake_python_register_environment_hook()
  set_property(GLOBAL PROPERTY late_python_package "${ARGN}")
endmacro()
