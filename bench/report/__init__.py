"""`bt-bench report`: accuracy and latency on one page."""
