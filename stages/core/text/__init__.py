"""Texts: archives, which files hold them, table readers, splits, and the prepared corpus."""
