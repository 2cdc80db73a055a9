"""What every other part of drofcm rests on: names, units, errors and randomness."""
