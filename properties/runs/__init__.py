"""How it is run: clauses x subject -> results, here or in a process of its own."""
