"""What a run is: which tests there are, who does them, what they said, and what was expected of them."""
