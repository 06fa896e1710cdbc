"""`bt-data`: the data set, prepared, audited and augmented."""
