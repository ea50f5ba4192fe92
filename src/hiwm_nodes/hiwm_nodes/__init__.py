"""What every node of hiwm shares: QoS, messages from arrays, diagnostics, start and stop."""
