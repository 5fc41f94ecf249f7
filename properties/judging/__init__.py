"""Judging functions that nobody has read, such as generated kernels.

`spec` is what a function claims, `plan` what it will be asked, drawn before it is loaded; `host` runs in
its process and `hosted` asks it there; `reading` makes findings of what came, `judge` leads through.
"""
