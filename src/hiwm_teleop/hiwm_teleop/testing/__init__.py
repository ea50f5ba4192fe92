"""What tests and benchmarks put in the place of hardware."""
