# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
#
# Included by ament_package(). One package was registered: the generator's.
get_property(arguments GLOBAL PROPERTY late_python_package)
_ament_cmake_python_install_package(${arguments})
