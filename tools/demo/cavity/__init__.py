"""The cavity act: a cavity in this process, its molecules in others, and physics as the judge."""
