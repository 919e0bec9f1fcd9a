"""A decoder a file: ``read(file, max_pixels)`` gives a ``Decoded``; :mod:`blinddps.io.formats` holds their table."""
