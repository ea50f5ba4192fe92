"""Bags: writing segments, auditing, recovering and reading them back as arrays.

    RecordingSession  sorts serialized messages into one bag a segment   (the recorder node)
    read_segment      a bag as arrays                                    (training, evaluation)
    audit_bag         is everything in it?                               (on close, and by hand)
    recover_bag       a bag from the file of a killed recorder           (likewise)
"""

from hiwm_core.bags.audit import AUDIT_FILE, Audit, audit_bag
from hiwm_core.bags.lineage import Lineage
from hiwm_core.bags.reader import Labels, Segment, read_segment
from hiwm_core.bags.recover import is_bag, needs_recovery, recover_bag, session_bags, unfinished
from hiwm_core.bags.session import ClosedBag, RecordedTopic, RecordingSession, Role
from hiwm_core.bags.writer import BagFile, Topic, open_bag

__all__ = [
    "AUDIT_FILE", "Audit", "BagFile", "ClosedBag", "Labels", "Lineage", "RecordedTopic",
    "RecordingSession", "Role", "Segment", "Topic", "audit_bag", "is_bag", "needs_recovery",
    "open_bag", "read_segment", "recover_bag", "session_bags", "unfinished",
]
