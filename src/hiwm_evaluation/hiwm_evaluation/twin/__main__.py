"""`python -m hiwm_evaluation.twin`."""

import sys

from hiwm_evaluation.twin.command_line import main

if __name__ == "__main__":
    sys.exit(main())
