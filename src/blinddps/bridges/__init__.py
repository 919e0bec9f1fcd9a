"""To and from other libraries, each imported where it is used."""
