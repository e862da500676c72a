"""Commands of people with a telephone: the window, the terminal, and how they are set up."""
