"""ppm, the project portfolio manager: the application that ppmctl ships with."""
