"""HTTP: the application, its middleware and errors, and the pages."""
