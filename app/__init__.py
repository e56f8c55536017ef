"""ppm, the project portfolio manager: the application that is shipped with ppmctl."""
