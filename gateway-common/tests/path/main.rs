//! The packet path in ordinary memory: tables of cases, journeys across two sites, properties.

mod cases;
mod fragments;
mod frames;
mod journey;
mod reading;
mod tagged;
mod told;
mod two_sites;
