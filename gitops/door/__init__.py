"""The front door: one stable address per service while the processes behind it come and go.

It knows hosts and upstream addresses only; who may be one is decided elsewhere and told through the table.
"""
