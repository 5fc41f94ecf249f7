"""Mutation testing of the reference and of the suite: `python -m properties.tests.mutation.run --help`.

cosmic-ray makes the mutants and keeps the session; `operators` adds what it has not, `judges` says
which tests must turn red, `equivalent.toml` lists the mutants that change nothing, with the reason.
"""
