"""The commands of ppmctl.py, by subject. Imports of the rest of ``deploy`` stand inside the commands."""
