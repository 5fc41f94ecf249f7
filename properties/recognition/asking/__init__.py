"""How a subject is told what a call asks: its arguments by role, its conventions, its answers."""
