"""What ppmctl does on the machine that it runs on: its Docker engine, processes, files."""
