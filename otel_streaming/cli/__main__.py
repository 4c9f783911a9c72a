"""``python -m otel_streaming.cli``, for where the script is not on PATH."""

from otel_streaming.cli import main

main()
