# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Teaching the vision towers where named objects are, from rendered scenes."""
