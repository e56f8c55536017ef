"""Plans: the changes that a deploy would make, and manual changes on a host."""
