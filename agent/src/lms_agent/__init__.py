"""The LMS evo agent: reads instruments, keeps every reading in a local log, and sends the log to the cloud."""
