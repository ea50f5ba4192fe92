"""Converts sessions and bags of earlier versions, for `hiwm_learning.migrate`.

    texts      embodiments and tasks, and which hash each old one has now
    messages   recorded messages whose definitions have changed
    bags       one bag
    trees      a session's tree.sqlite

Version 1 is that of bags and trees without a format, which knew one planar arm pair, one task, and
one stamp per tick. Readers refuse it with `hiwm_core.formats.MIGRATE`.
"""
