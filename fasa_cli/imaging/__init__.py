"""What a picture file and its pixels are: limits, coded data, the photo within the picture."""
