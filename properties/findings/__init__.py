"""What a failure is: which of them are one, what they are called, how they are drawn, their scripts."""
