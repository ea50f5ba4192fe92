"""Shared by every node of hiwm: QoS, messages from arrays, diagnostics, start and stop."""
