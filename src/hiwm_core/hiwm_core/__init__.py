"""Pure parts of hiwm: configs, control, limits, frames, branches, bags. No rclpy, no torch."""
