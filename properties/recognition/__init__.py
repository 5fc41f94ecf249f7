"""How a TARGET becomes subjects: what is named is found, understood and tried out."""
