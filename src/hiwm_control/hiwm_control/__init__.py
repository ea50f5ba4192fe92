"""The arbiter: it sends each tick's command, from the policy or from the operator."""
