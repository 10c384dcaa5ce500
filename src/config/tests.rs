//! Unit tests of the configuration: exact wording of what goes wrong, stock files, ranges.
