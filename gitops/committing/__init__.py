"""Events become config commits, and commits become records: the one writer of the config branch."""
