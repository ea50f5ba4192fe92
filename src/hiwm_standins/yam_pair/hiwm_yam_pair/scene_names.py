"""Names that tasks on this stand-in share."""

from hiwm_core.task_plugin import DEMONSTRATION, FAILURE_DATA

# In ground truth: MuJoCo's warnings since the start. An episode with one has failed.
WARNINGS = "physics_warnings"
DATA_KINDS = (DEMONSTRATION, FAILURE_DATA, "exploration", "edge")
TOP = "top"  # the camera that looks straight down
