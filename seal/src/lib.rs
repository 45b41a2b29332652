//! The sealed log.
