"""An act of the demo: controllers that elect a leader, lose it, and open their valves together."""
