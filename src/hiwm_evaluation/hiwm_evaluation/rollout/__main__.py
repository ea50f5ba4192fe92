"""`python -m hiwm_evaluation.rollout`."""

import sys

from hiwm_evaluation.rollout.command_line import main

if __name__ == "__main__":
    sys.exit(main())
