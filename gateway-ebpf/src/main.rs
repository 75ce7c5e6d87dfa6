//! The kernel half of the data path. Each program wraps its context in a frame and the maps, asks
//! `gateway_common::path` what to do, and carries the verdict out.
#![no_std]
#![no_main]

mod frame;
mod guard;
mod lan_ingress;
mod link_ingress;
mod maps;
mod parts;
mod tables;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier rejects a program that can get here: the loop has no end.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
