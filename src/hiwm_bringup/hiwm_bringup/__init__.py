"""Launch files, configuration and the launcher for machines without ROS."""
