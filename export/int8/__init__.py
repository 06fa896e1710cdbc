"""The search for a quantisation plan."""
