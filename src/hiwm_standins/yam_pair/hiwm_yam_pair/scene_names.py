"""Names that tasks on this stand-in share."""

from hiwm_core.task_plugin import DEMONSTRATION, FAILURE_DATA, ROBOT_DATA

# In ground truth: MuJoCo's warnings since the start. An episode with one has failed.
WARNINGS = "physics_warnings"
DATA_KINDS = (DEMONSTRATION, FAILURE_DATA, "exploration", "edge", ROBOT_DATA)
# Where an object lies [m] that neither camera nor arm shall meet.
AWAY_X_M = 2.0
TOP = "top"  # the camera that looks straight down
