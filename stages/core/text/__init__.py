"""Texts and labels: archives, table readers, labels, and the prepared corpus."""
