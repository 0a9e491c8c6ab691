"""Live: what a commit brought, from the broker to every browser that watches, without a hole."""
