"""Variants, and the engines that serve them: one module an engine."""
