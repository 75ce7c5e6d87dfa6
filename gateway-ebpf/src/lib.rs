//! Empty on the host: a build-dependency on this package makes cargo see changes of the kernel half.
#![no_std]
