"""A Report as text for a terminal, and the specification as a table and as SPEC.md."""
