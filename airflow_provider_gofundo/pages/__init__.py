"""Many requests: the list shapes of a Laravel API, and the walk through their pages."""
