"""The baseline against rounded copies of itself: what the gate's own figures do where nothing changed."""
