//! Policy text to a checked policy to decisions: pure.
