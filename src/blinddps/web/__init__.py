"""A page to restore pictures in the browser (``blinddps web``, extra ``web``).

Its server knows visitors, files and a queue. One child process reads uploads and another one restores, so that nothing
that a picture does to them takes the page down. What they call is what the command line calls.
"""

from .serve import serve

__all__ = ["serve"]
