//! What a site is and what it may use, compiled to tables: pure, no clock, no sockets.
