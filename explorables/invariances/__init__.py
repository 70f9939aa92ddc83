"""What each norm forgets: a change of weights or inputs, and how far outputs move."""
