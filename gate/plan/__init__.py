"""What a policy can see before any model is run: power of its drift rules, and rules that can never fire. No torch."""
