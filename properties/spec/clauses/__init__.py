"""The clauses, one file per area of the specification."""
