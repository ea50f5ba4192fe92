"""The recorder: one audited bag per segment, with lineage."""
