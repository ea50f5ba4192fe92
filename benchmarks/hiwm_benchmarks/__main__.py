"""`python -m hiwm_benchmarks` runs the benchmarks."""

import sys

from .command_line import main

sys.exit(main())
