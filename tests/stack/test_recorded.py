"""What the collector has written down is read as it was sent."""

import json

from stack import recorded


def test_what_nobody_described_has_no_attributes(tmp_path):
    """A span without attributes, of a resource without a name, is read as any other."""
    spans = {"scope": {}, "spans": [{"name": "bare"}]}
    file = tmp_path / "spans.json"
    file.write_text(json.dumps({"resourceSpans": [{"resource": {}, "scopeSpans": [spans]}]}) + "\n")
    [span] = recorded.read(file, "Spans", "spans")
    assert span == {"name": "bare", "attributes": {}, "scope": "", "resource": {"service.name": ""}}
