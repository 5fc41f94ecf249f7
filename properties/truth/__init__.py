"""What is right: the definition of attention and the truth of it, in two forms."""
