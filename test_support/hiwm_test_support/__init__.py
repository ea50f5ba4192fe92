"""What only tests and benchmarks use: fake devices, recorded worlds, tiny models, processes."""
