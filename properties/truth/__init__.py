"""What is right: the two oracles, how near is near, how unlikely is unlikely."""
