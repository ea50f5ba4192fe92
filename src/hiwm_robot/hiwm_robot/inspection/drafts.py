"""All files of a draft. Pure. Tested by ``test_inspection.py``."""

from hiwm_robot.inspection.embodiment_draft import embodiment_draft, task_draft
from hiwm_robot.inspection.layout import Layout
from hiwm_robot.inspection.robot_draft import launch_draft, robot_draft
from hiwm_robot.inspection.sightings import Sighting


def drafts(layout: Layout, sighting: Sighting, date: str) -> dict[str, str]:
    """Return the texts of the drafts by their path in the user's own directory.

    Args:
        layout: what they say.
        sighting: what it was made from.
        date: of the watching, for the head of each file.
    """
    head = (
        f"Draft by scripts/inspect, {date}. A person checks every line marked CHECK, and then "
        "removes the mark"
    )
    texts = {
        f"embodiments/{layout.name}.yaml": embodiment_draft(layout, head),
        f"robots/{layout.name}.yaml": robot_draft(layout, sighting, head),
        f"tasks/{layout.name}_task.yaml": task_draft(layout, head),
        f"launch/robot_{layout.name}.launch.xml": launch_draft(layout, sighting),
    }
    if not layout.urdf.problem:
        texts[f"urdf/{layout.name}.urdf"] = sighting.urdf
    return texts
