"""How the weights come to be: data, split, augmentation, training, evaluation, report.

- `prepare`, `audit`, `splits`: from a copy of the data set to one file, and what is wrong with the data.
- `recipe`, `fit`, `finish`: from a recipe to a run that survives a kill, then to a `.keras` file.
- `evaluate`, `ensemble_search`, `calibration`, `report`: every figure of the study, from the stored predictions.
"""
