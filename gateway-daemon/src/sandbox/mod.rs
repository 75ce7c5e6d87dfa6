//! What the programs keep themselves from doing.
//!
//! | module | holds |
//! |---|---|
//! | `dumps` | no memory of this process is left in a file or read by others |

mod dumps;

pub use dumps::{DumpError, refuse_dumps};
