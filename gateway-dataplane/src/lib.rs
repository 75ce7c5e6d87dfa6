//! The user half of the data path: load, pin, attach, observe, diff and apply.
