"""What `run` and `watch` show: what is heard, counted and drawn while a service runs."""
