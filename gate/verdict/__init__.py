"""Stage 7: a pure function of policy and evidence."""
