"""A file for each library, found by being there: `LINES`, and what its attention needs to be asked.

None imports its library, or another, before what is in it is used.
"""
