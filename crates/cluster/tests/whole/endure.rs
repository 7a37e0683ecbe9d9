//! What a pod network has to endure, beyond what CI sees.

mod agent;
mod api;
mod churn;
mod daemons;
mod keys;
mod nodes;
mod older;
mod removal;
mod statics;
