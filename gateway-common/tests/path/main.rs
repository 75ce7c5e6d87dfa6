//! The packet path in ordinary memory: tables of cases, journeys across two sites, properties.

mod cases;
mod journey;
mod two_sites;
