"""What a policy watches: reading, checking and describing policy files."""
