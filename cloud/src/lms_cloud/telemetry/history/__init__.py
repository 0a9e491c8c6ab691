"""Readings of any window in at most as many points as asked for, or all of them as a stream.

service.py  what to read, from where    series.py    each tag at the resolution that fits
rows.py     the queries                 buckets.py   which rollups cover what, pure
drawing.py, thinning.py, breaks.py, envelopes.py, shaping.py   rows to points, pure
stream.py   everything, row by row      exporting.py files of it
"""
