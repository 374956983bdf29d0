"""What must be proven of an image before it may be written into git: signatures, source, and the owner's policy."""
