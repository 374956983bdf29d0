"""Files of people: found by targets, changed by their own bytes, and taken under management by adopt."""
