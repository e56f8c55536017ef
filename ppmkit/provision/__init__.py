"""Preparing hosts with pyinfra."""
