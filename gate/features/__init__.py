"""Stage 4: latents with their evidence."""
