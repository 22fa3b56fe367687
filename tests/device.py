"""Where engines are tested: on the CPU, or on what MANYSHOT_TEST_DEVICE names, such as cuda."""

import os

DEVICE = os.environ.get("MANYSHOT_TEST_DEVICE", "cpu")
