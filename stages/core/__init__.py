"""What the stages share. Nothing in here imports a stage."""
