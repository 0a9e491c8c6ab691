"""The limits of size and age: what the log may give up, bite by bite, and how the disk gets its room back."""
