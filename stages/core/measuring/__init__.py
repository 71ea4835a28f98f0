"""Measuring: workers, rounds, and what else the machine was doing."""
