"""A saved scan for people and for other tools: the HTML page, overlays, regions."""
