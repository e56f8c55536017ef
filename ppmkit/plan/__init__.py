"""Plans: what a deploy would change, and what was changed on a host by hand."""
