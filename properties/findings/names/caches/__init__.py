"""Names for failures of a cache: `memory` goes on as a right one does, `catalogue` as wrong ones do,
and `match` holds them against the subject.
"""
