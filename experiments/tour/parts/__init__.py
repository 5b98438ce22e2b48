"""What items of the tour are made of, where one file of less than 120 lines would not hold it."""
