"""A package, so that one deployment serves the tests of this folder and ends with them (fixture ``machine``)."""
