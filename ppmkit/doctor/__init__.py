"""What may be wrong with this machine or a host, before anything is changed."""
