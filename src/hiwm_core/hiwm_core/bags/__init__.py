"""Bags: writing segments, auditing, recovering and reading them back as arrays.

    RecordingSession  sorts serialized messages into one bag per segment   (the recorder node)
    read_segment      reads a bag as arrays                                (training, evaluation)
    audit_bag         checks that a bag is complete                        (on close, on request)
    recover_bag       makes a valid bag from a killed recorder's file      (on start, on request)
"""

from hiwm_core.bags.audit import AUDIT_FILE, Audit, audit_bag
from hiwm_core.bags.lineage import Lineage
from hiwm_core.bags.reader import Labels, Segment, read_segment
from hiwm_core.bags.recover import is_bag, needs_recovery, recover_bag, session_bags, unfinished
from hiwm_core.bags.segment_bags import ClosedBag
from hiwm_core.bags.session import RecordedTopic, RecordingSession, Role
from hiwm_core.bags.writer import BagFile, Topic, open_bag

__all__ = [
    "AUDIT_FILE", "Audit", "BagFile", "ClosedBag", "Labels", "Lineage", "RecordedTopic",
    "RecordingSession", "Role", "Segment", "Topic", "audit_bag", "is_bag", "needs_recovery",
    "open_bag", "read_segment", "recover_bag", "session_bags", "unfinished",
]
