"""An act of the demo: a day at a laboratory, in which all five packages work together."""
