"""The times of batches: under which clock they were logged, and what has been corrected since."""
