"""What every source of records shares, be they events, rows of an ERP or rates: lines, numbers, and rejects.

Belongs here: reading what senders write exactly or saying why not, and keeping what was rejected. Does not belong here:
the rules of an event or a rate.
"""
