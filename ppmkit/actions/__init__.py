"""Actions of the commands, one function each."""
