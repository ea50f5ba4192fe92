"""World models: one interface, a registry of families, one training command, one evaluation."""
