"""Who we are: tokens, the grants that fetch them, the manager that decides which one is good now."""
