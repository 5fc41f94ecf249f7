"""Attention as a program of its own, in any language: it answers calls by the protocol of docs/protocol.md.

`Process` is that program as a function of torch tensors, in which the suite asks everybody.
"""
