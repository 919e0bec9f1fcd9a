"""An encoder a file: ``write(path, pixels, kept)``; :mod:`blinddps.io.write` holds their table."""
