"""Rotary positions found out: which module looks as if, what is handed to it, and how it turns.

A trial is made only where a name, a table or a line of code speaks of rotations, so that all other
modules cost nothing.
"""
