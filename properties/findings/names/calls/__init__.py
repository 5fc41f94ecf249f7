"""A name for what is wrong with a call: a small change of the question, or of what is returned.

`catalogue` holds the wrong forms, `battery` the questions on which they are told apart, `match` holds
one against the other, and `standin` asks a clause about a subject that computes such a form.
"""
