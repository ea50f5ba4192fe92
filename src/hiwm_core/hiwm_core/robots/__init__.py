"""Sections of a robot file; `hiwm_core.robot_config` reads the whole file."""
