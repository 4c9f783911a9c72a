"""What watching costs, as ratios within one run."""
