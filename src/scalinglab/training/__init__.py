"""Schedules, the optimiser, the data cursor and the training loop. No paths of the study here."""
