# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""`python -m vla_adapter_ros.nodes.demo`."""

import sys

from vla_adapter_ros.nodes.demo.demo import main

sys.exit(main())
