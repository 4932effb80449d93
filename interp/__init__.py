"""What is inside a run of GPT-2, and what happens when it is changed."""
