"""Floor 4: the command line, one file a command; each imports what it needs when it is called."""
