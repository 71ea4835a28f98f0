"""The experiment: one module a DAG stage; `core` holds what they share."""
