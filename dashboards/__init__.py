"""Dashboards, rules and alerts as code: semconv -> queries -> panels -> one module per dashboard, strictly that way.

``python -m dashboards`` writes them to ``dashboards/out``; ``--check`` tells whether that is up to date.
"""
