"""A package, unlike the other test folders: the browser is a package's fixture, so that it ends with these tests."""
