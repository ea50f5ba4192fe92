"""Pure parts of hiwm: embodiments, tasks, control table, limits, frames, branch store, bags. No rclpy, no torch."""
