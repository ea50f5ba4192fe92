"""World models, policies, datasets, training and metrics in torch. No rclpy."""
