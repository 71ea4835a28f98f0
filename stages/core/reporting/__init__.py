"""What was measured, as statistics, a verdict, tables, figures and pages."""
