"""The readouts act: a DAQ multicasts, monitors watch, and every loss is accounted for."""
