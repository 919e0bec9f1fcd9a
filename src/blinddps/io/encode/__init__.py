"""An encoder a file: ``write(path, pixels, profile, alpha_kind)``; :mod:`blinddps.io.write` holds their table."""
