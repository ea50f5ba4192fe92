"""Makes `python -m hiwm_benchmarks` run the benchmarks."""

import sys

from .command_line import main

sys.exit(main())
