"""The recorder: one audited bag a segment, with lineage."""
