"""What agent, cloud and simulator of LMS evo agree on: readings, Sparkplug B, acknowledged delivery. No I/O."""
