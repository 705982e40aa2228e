"""What a photo's file says of its own history, without the model: container, coding, metadata.

Findings are sentences with a number, a severity and what they do not show. They change no mask.
"""
