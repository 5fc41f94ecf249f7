"""What is drawn: sizes, values, weights, probes, and how a failing case is made small."""
