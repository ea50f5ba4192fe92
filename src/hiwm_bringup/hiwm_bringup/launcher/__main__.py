"""`python -m hiwm_bringup.launcher FILE name:=value ...`."""

import sys

from .command_line import main

sys.exit(main())
