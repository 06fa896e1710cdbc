"""`bt-bench latency`: how fast bundles and baselines answer."""
