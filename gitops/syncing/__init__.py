"""The cluster is brought to what git says, and what runs becomes records."""
