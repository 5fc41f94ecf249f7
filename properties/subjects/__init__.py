"""Who is asked: what an implementation offers, is asked for and cannot take."""
