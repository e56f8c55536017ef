"""Traefik: routes, certificates, what it answers."""
