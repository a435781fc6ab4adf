"""An act of the demo: rigs that run an experiment together, and one that dies in the middle of it."""
