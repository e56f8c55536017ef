"""The command line: parse, call one function, print. Commands import the rest of ``ppmkit`` when they run."""
