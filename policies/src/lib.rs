//! The shipped policy files, each held to its table of expectations.
