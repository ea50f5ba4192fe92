"""`scripts/inspect`: watches a running ROS graph and drafts the files of a robot.

`watcher` fills a `sightings.Sighting` over rclpy, `layout` decides what the robot's files should
say, `embodiment_draft` and `robot_draft` write them, and `summary` tells a person. Only `watcher`
knows rclpy. docs/your_robot.md is its page.
"""
