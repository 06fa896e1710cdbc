"""The report on trained models."""
