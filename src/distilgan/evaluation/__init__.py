"""What was lost and what was won: fidelity, agreement with the teacher, cost, the report."""
