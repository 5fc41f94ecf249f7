"""One file per command of the command line; each `register`s itself with its options."""
