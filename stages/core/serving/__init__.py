"""Variants: where each one lies, and what it answers once it is loaded."""
