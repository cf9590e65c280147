//! Transforms against the sums that define them.
