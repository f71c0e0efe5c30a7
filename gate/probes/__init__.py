"""Stage 6: interventions on the found features, against controls."""
