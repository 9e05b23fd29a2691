"""A package, so that one system serves the tests of this folder and ends with them (fixture ``system``)."""
