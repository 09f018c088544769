"""What tools/bench.py measures with: subjects, clocks, costs, reports."""
