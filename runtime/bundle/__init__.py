"""Reading bundles, and checking every byte of them first."""
