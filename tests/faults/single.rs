//! Scenarios of their own.
