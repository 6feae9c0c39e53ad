"""What every part has to keep, built in or added; each contract is a function to be called from a test."""
