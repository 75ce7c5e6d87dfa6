//! Keys and values of maps as aya wants them. The crate's only `unsafe`.

use gateway_common::map::Plain;

/// A key or a value on its way to or from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub(crate) struct Pod<T>(pub(crate) T);

// SAFETY: aya copies the bytes of a `Pod` to the kernel and makes a `Pod` of bytes from the kernel.
// `Plain` holds for types whose every byte is initialised (`IntoBytes`: no padding), of which any
// bytes are a value (`FromBytes`), and which no shared reference can change (`Immutable`). The
// wrapper is `repr(transparent)` and adds nothing.
unsafe impl<T: Plain> aya::Pod for Pod<T> {}
