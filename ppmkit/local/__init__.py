"""This machine: its Docker engine, processes, threads and files."""
