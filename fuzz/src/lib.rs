//! Fuzz targets: one module and one function each, called with any bytes. They return if all is
//! well and panic if not. `cargo test -p fuzz` replays `corpus/TARGET/`; the package in `libfuzzer/`
//! looks for new input.
//!
//! | target | input | what must hold |
//! |---|---|---|
//! | [`apply()`] | bodies of apply, by two managers | no panic; what comes of it is a resource; nobody's field is lost unnoticed |
//! | [`frame()`] | frames, one after the other | no panic; addresses of one side never reach the other |
//! | [`joining()`] | tokens, and what is said while joining | no panic; what is written reads back; no refusal shows a secret |
//! | [`leaf()`] | certificates | no panic; what is read makes sense |
//! | [`resources()`] | resources | no panic; what is written reads back; every share makes a model |
//! | [`sealed()`] | a sealed value or a wrapped key | no panic; what is read comes to the same octets; opening it is bounded |
//! | [`session()`] | what one end of a session hears | no panic; what it holds and sends is bounded; a share is as it was told |
//! | [`site_file()`] | a site file | no panic; a model compiles, and its rendering reads back the same |
#![forbid(unsafe_code)]

mod apply;
mod frame;
mod joining;
mod leaf;
mod resources;
mod sealed;
mod session;
mod site_file;

pub use apply::apply;
pub use frame::frame;
pub use joining::joining;
pub use leaf::leaf;
pub use resources::resources;
pub use sealed::sealed;
pub use session::session;
pub use site_file::site_file;
