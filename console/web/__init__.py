"""The pages that people look at, and the session that lets them in."""
