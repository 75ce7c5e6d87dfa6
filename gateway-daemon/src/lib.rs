//! gatewayd and gatewayctl: the logic of both programs; the binaries only call it.
//!
//! | module | holds |
//! |---|---|
//! | [`daemon_cli`], [`config`], [`logging`], [`exit`] | a program's edges: arguments, site file, log, exit code |
//! | [`host`], [`instance`], [`interfaces`] | what is looked at before anything is changed |
//! | [`gateway`] | bringing a site file in force: link, attach, apply |
//! | [`driver`] | the daemon's loop: one task owns the gateway, others send it events |
//! | `clock` | the time of day |
//! | [`link`], [`netlink`] | the WireGuard device and what is asked of the kernel |
//! | [`health`] | whether back ends serve |
//! | [`service_manager`] | readiness, status and watchdog |
//! | [`controller`] | what is declared of a deployment, and each gateway's share of it |
//! | [`session`] | how gateways of one host are told their shares |
//! | [`enrolment`] | how a deployment begins, and how gateways join it |
//! | [`identity`] | keys, certificates and whom to believe |
//! | [`sandbox`] | what the programs keep themselves from doing |
//! | [`seal`] | keys and state at rest |
//! | [`store`] | the controller's store, in a file or in etcd |
//! | [`api`] | what operators ask of the controller, over HTTP |
//! | [`ctl`] | `gatewayctl` |
//! | [`reference`] | the pages of docs/reference |
#![forbid(unsafe_code)]

pub mod api;
mod clock;
pub mod config;
pub mod controller;
pub mod ctl;
pub mod daemon_cli;
pub mod driver;
pub mod enrolment;
pub mod exit;
pub mod gateway;
pub mod health;
pub mod host;
pub mod host_link;
pub mod identity;
pub mod instance;
pub mod interfaces;
mod jitter;
pub mod link;
pub mod logging;
pub mod netlink;
pub mod reference;
pub mod sandbox;
pub mod seal;
pub mod service_manager;
pub mod session;
pub mod store;
