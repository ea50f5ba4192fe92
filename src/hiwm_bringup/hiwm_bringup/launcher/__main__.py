"""`python -m hiwm_bringup.launcher FILE name:=value ...`."""

import os
import sys

from .command_line import main

code = main()
try:
    sys.stdout.flush()
except OSError:
    # Output that fits on no disk must not change the exit code: Python would exit with 120.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
sys.exit(code)
