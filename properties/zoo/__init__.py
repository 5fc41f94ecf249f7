"""What is wrong or odd on purpose, and the matrix that holds one against the other."""
