"""Old against new: what a refactor changed, on the same weights and the same inputs.

load.py finds the two, mapping.py carries weights to names that nobody recognises, results.py,
checkpoint.py, refusals.py and verdicts.py each compare one thing, cost.py measures, compare.py
calls them all, and isolated.py does so in a process of its own.
"""
