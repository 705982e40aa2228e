"""What happens to the network's map: hysteresis lowers weak regions, copy-move adds marks.

Both work on the map that the network gave, which stays available beside theirs.
"""
