"""Makes `python -m hiwm_bringup.bench` run the benchmarks."""

import sys

from .command_line import main

sys.exit(main())
