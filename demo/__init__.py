"""The whole story on one machine: real streams, real faults, and what each metric says of them."""
