"""Attention of public libraries, asked one after the other: who passes, and by which conventions.

`lines` is what is asked: data, in a file for each library. `asking` asks it, a `Row` is what came of it,
and `page` draws the tables.
"""
