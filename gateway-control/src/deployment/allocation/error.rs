//! Why there is no address for something. Each message has the remedy.

use std::net::Ipv4Addr;

use gateway_policy::SiteName;
use ipnet::Ipv4Net;

use super::length;
use crate::model::{PresencePool, TransitBlock, TransitPool};

/// Why there is no address for something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllocationError {
    /// A wish that another holds.
    #[error("{wish} is that of {holder}; wish for another, or leave it out")]
    Held {
        /// What was wished for.
        wish: String,
        /// Who holds it.
        holder: String,
    },
    /// A wish that cools off.
    #[error(
        "{wish} was that of {holder} and cools off for {seconds} s more, so that nothing sent to it reaches \
         another; wait, or wish for another"
    )]
    Cooling {
        /// What was wished for.
        wish: String,
        /// Who held it.
        holder: String,
        /// For how long.
        seconds: u64,
    },
    /// A pool without room.
    #[error(
        "presencePool {pool} of site {site} is full: {held} addresses are held, {cooling} cool off; {remedy}"
    )]
    PoolFull {
        /// The pool.
        pool: PresencePool,
        /// Its site.
        site: SiteName,
        /// Addresses that are held.
        held: u64,
        /// Addresses that cool off.
        cooling: u64,
        /// What to do.
        remedy: String,
    },
    /// A transit pool without room.
    #[error(
        "the transit pool {pool} is full: {held} addresses are held, {cooling} cool off; {remedy}"
    )]
    TransitFull {
        /// The pool.
        pool: Ipv4Net,
        /// Addresses that are held.
        held: u64,
        /// Addresses that cool off.
        cooling: u64,
        /// What to do.
        remedy: String,
    },
    /// A wish outside the transit pool.
    #[error("{wish} is outside the transit pool {pool}; wish for a block in it, or leave it out")]
    TransitOutside {
        /// What was wished for.
        wish: TransitBlock,
        /// The pool.
        pool: TransitPool,
    },
    /// A wish for too small a block.
    #[error(
        "{wish} is too small for the site's clients and services; wish for a /{length}, or leave it out"
    )]
    TransitSmall {
        /// What was wished for.
        wish: TransitBlock,
        /// Length that is large enough.
        length: u8,
    },
    /// More clients than any block has.
    #[error(
        "the client networks have {count} addresses and a site may have {most}; name smaller ones"
    )]
    TooManyClients {
        /// How many addresses there are.
        count: u64,
        /// How many there may be.
        most: u32,
    },
    /// All numbers taken.
    #[error("all {most} numbers of the site's services are taken; remove services")]
    NumbersFull {
        /// How many there are.
        most: u32,
    },
}

impl AllocationError {
    pub(super) fn taken(wish: String, holder: String, left: Option<u64>) -> Self {
        match left {
            None => Self::Held { wish, holder },
            Some(seconds) => Self::Cooling { wish, holder, seconds },
        }
    }

    pub(super) fn transit_full(pool: Ipv4Net, size: u32, held: u64, cooling: u64) -> Self {
        let wanted = held + cooling + u64::from(size);
        let remedy = match enough(wanted + 1).filter(|length| (4..=12).contains(length)) {
            Some(length) if length < pool.prefix_len() => {
                format!("declare a transit pool of /{length}")
            }
            _ if cooling > 0 => "wait until more has cooled off, or remove sites".to_owned(),
            _ => "remove sites, or make client networks smaller".to_owned(),
        };
        Self::TransitFull { pool, held, cooling, remedy }
    }

    pub(super) fn pool_full(
        pool: PresencePool,
        site: &SiteName,
        size: u32,
        (held, cooling): (u64, u64),
        kept: usize,
    ) -> Self {
        let wanted = held + cooling + u64::from(size) + kept as u64;
        let largest = |length: &u8| (16..pool.prefix().prefix_len()).contains(length);
        // Where alignment is what lacks, twice the room has it.
        let twice = pool.prefix().prefix_len().saturating_sub(1);
        let remedy = match enough(wanted).map(|length| length.min(twice)).filter(largest) {
            Some(length) => format!("make it a /{length}"),
            None if cooling > 0 => {
                "wait until more has cooled off, or expose fewer services".into()
            }
            None => "expose fewer services to the site".to_owned(),
        };
        Self::PoolFull { pool, site: site.clone(), held, cooling, remedy }
    }
}

/// Length of the smallest prefix with so many addresses.
fn enough(addresses: u64) -> Option<u8> {
    u32::try_from(addresses.next_power_of_two()).ok().map(length)
}

/// An address as a wish is shown.
pub(super) fn shown(first: u32, size: u32) -> String {
    let address = Ipv4Addr::from(first);
    match size {
        1 => address.to_string(),
        _ => format!("{address}/{}", length(size)),
    }
}
