# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""`python -m vla_adapter_ros.data.show`."""

import sys

from vla_adapter_ros.data.show.cli import main

sys.exit(main())
