"""Calls of attention as files, for those who take files and no Python.

`groups` says what is asked, `right` what is right and how near is near, `wrong` what each known fault
would give; `notes` tells of the faults, `writing` makes JSON of it, and `files` the whole folder.
"""
