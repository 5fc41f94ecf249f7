"""Attention on arrays of other libraries: NumPy, JAX, and what stands on them.

A file for each kind of array, with `ARRAYS`, an `Arrays`. None imports its library to be found. What a
function computes is bridged to torch tensors (`bridge.py`), in which the suite asks everybody.
"""
