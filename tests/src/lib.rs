//! Support for the tests from outside.
