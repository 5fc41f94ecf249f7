"""What is asked: the clauses, their areas, and how much of them a profile asks."""
